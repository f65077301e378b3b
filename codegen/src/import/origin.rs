//! Where a node came from, out of its metadata.

use crate::diag::Origin;
use crate::schema::Node;

/// The origin of a node: target, module path and class, and the innermost line of the user's own Python.
pub fn origin(node: &Node) -> Origin {
    let text = |key: &str| node.metadata.get(key).map(String::as_str).unwrap_or_default();
    let (module, class) = module(text("nn_module_stack"));
    let (source, code) = source(text("stack_trace"));
    let target = node.target.strip_prefix("torch.ops.").unwrap_or(&node.target).to_string();
    Origin { node: node.label().to_string(), target, module, class, source, code }
}

/// Innermost `key,path,class` of the stack. A path may be `L['self'].features.0`.
fn module(stack: &str) -> (String, String) {
    let Some(innermost) = stack.split(';').rfind(|entry| entry.split(',').count() >= 3) else {
        return Default::default();
    };
    let mut parts = innermost.splitn(3, ',');
    let (_, path, class) = (parts.next(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let path = path.trim_start_matches("L['self']").trim_start_matches('.');
    (path.replace("._modules[", ".").replace(['\'', ']'], ""), class.to_string())
}

/// `file.py:42` and the text of that line, for the innermost frame outside the torch package.
fn source(trace: &str) -> (Option<String>, Option<String>) {
    let lines: Vec<&str> = trace.lines().collect();
    let frame = lines.iter().rposition(|line| frame_of(line).is_some_and(|(file, _)| !is_library(file)));
    let Some(index) = frame else { return (None, None) };
    let found = frame_of(lines[index]).map(|(file, number)| {
        let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
        format!("{name}:{number}")
    });
    let code = lines.get(index + 1).map(|l| l.trim()).filter(|l| !l.is_empty() && frame_of(l).is_none());
    (found, code.map(|c| c.chars().take(80).collect()))
}

/// `File "x.py", line 3, in forward`.
fn frame_of(line: &str) -> Option<(&str, u32)> {
    let rest = line.trim_start().strip_prefix("File \"")?;
    let (file, rest) = rest.split_once("\", line ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((file, digits.parse().ok()?))
}

fn is_library(file: &str) -> bool {
    file.starts_with('<') || file.split(['/', '\\']).rev().skip(1).any(|part| part == "torch")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn innermost_user_frame_and_module() {
        let trace = "File \"/home/me/net.py\", line 87, in forward\n    x = F.relu(self.stem(x))\n  File \"torch/nn/modules/conv.py\", line 565, in forward\n    return self._conv_forward(input)\n  File \"<eval_with_key>.3\", line 2, in forward";
        let stack = "L__self__,,__main__.Net;L__self___stem,L['self'].features.0,torch.nn.modules.conv.Conv2d";
        let metadata = BTreeMap::from([("stack_trace".into(), trace.into()), ("nn_module_stack".into(), stack.into())]);
        let node = Node { target: "torch.ops.aten.conv2d.default".into(), metadata, ..Node::default() };
        let origin = origin(&node);
        assert_eq!(origin.target, "aten.conv2d.default");
        assert_eq!(origin.module, "features.0");
        assert_eq!(origin.class, "torch.nn.modules.conv.Conv2d");
        assert_eq!(origin.source.as_deref(), Some("net.py:87"));
        assert_eq!(origin.code.as_deref(), Some("x = F.relu(self.stem(x))"));
    }

    #[test]
    fn no_metadata_no_origin() {
        let origin = origin(&Node::default());
        assert_eq!((origin.source, origin.code, origin.module.as_str()), (None, None, ""));
    }
}
