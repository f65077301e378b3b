//! The report as people read it.

use super::{Layer, Module, Planned, Report, Totals};
use exported_codegen::footprint::Footprint;
use std::fmt;

/// Most characters of a Python line that are shown.
const CODE: usize = 60;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} (torch {}, {})\n", self.model, self.torch, self.target)?;
        self.layers(f)?;
        if self.modules.len() > 1 {
            writeln!(f)?;
            self.modules(f)?;
        }
        writeln!(f)?;
        self.costs(f)?;
        writeln!(f)?;
        let head = ["offset", "bytes", "layers", "buffer"].map(String::from);
        let rows = self.memory.iter().map(|planned| {
            let Planned { name, offset, bytes, first, last } = planned;
            [grouped(*offset as u64), grouped(*bytes as u64), format!("{first}..={last}"), name.clone()]
        });
        let rows: Vec<[String; 4]> = std::iter::once(head).chain(rows).collect();
        table(f, &rows, [true, true, false, false])
    }
}

impl Report {
    /// The model by modules, without its layers and memory.
    pub fn by_module(&self) -> impl fmt::Display {
        struct ByModule<'a>(&'a Report);
        impl fmt::Display for ByModule<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                writeln!(f, "{} (torch {}, {})\n", self.0.model, self.0.torch, self.0.target)?;
                self.0.modules(f)?;
                writeln!(f)?;
                self.0.costs(f)
            }
        }
        ByModule(self)
    }

    fn layers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["#", "layer", "operator", "output", "MACs", "weights", "time", "Python"].map(String::from);
        let rows = self.layers.iter().enumerate().map(|(index, layer)| {
            [
                index.to_string(),
                layer.name.clone(),
                layer.operator.clone(),
                layer.output.clone(),
                grouped(layer.macs),
                grouped(layer.parameter_bytes),
                per_cent(layer.time_share),
                python(layer),
            ]
        });
        let rows: Vec<[String; 8]> = std::iter::once(head).chain(rows).collect();
        table(f, &rows, [true, false, false, false, true, true, true, false])
    }

    fn modules(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["module", "layers", "MACs", "weights", "time"].map(String::from);
        let rows = self.modules.iter().map(|module| {
            let Module { path, layers, macs, parameter_bytes, time_share } = module;
            let name = if path.is_empty() { "(model)" } else { path };
            [
                format!("{:1$}{name}", "", 2 * module.depth()),
                layers.to_string(),
                grouped(*macs),
                grouped(*parameter_bytes),
                per_cent(*time_share),
            ]
        });
        let rows: Vec<[String; 5]> = std::iter::once(head).chain(rows).collect();
        table(f, &rows, [false, true, true, true, true])
    }

    fn costs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, bytes: u64, note: &str| writeln!(f, "{name:16}{:>14}{note}", grouped(bytes));
        let Totals { macs, flash_bytes, ram_bytes, winograd_bytes, workspace_lower_bound, peak_layer, .. } =
            &self.totals;
        let Footprint { weights, padding, initial_state, workspace, state, inputs, outputs } = self.footprint;
        let above = 100.0 * (workspace as f64 / (*workspace_lower_bound).max(1) as f64 - 1.0);
        let least = grouped(*workspace_lower_bound);
        let bound =
            format!(" bytes; least possible for these layers {least} (during {peak_layer}), {above:.1} % above");
        let growth = format!(" bytes, {} of them added by Winograd's method", grouped(*winograd_bytes));
        line("MACs", *macs, "")?;
        line("flash", *flash_bytes, " bytes without code, of which")?;
        line("  weights", weights, if *winograd_bytes > 0 { &growth } else { " bytes as kernels read them" })?;
        line("  padding", padding, " bytes between them")?;
        line("  initial state", initial_state, " bytes")?;
        line("RAM", *ram_bytes, " bytes without the stack, of which")?;
        line("  workspace", workspace, if *workspace_lower_bound > 0 { &bound } else { " bytes" })?;
        line("  state", state, " bytes")?;
        line("inputs", inputs, " bytes, where the caller has them")?;
        line("outputs", outputs, " bytes, in the workspace")?;
        self.deviation.iter().try_for_each(|deviation| writeln!(f, "deviation: {deviation}"))?;
        writeln!(f, "stack and instructions: `cargo exported verify --target BOARD` measures them")?;
        writeln!(f, "time: {}", self.time_rests_on)
    }
}

/// `model.py:12: x = self.conv(x)`.
fn python(layer: &Layer) -> String {
    let code = layer.code.iter().map(|code| {
        let code = code.trim();
        match code.char_indices().nth(CODE) {
            Some((end, _)) => format!("{}…", &code[..end]),
            None => code.to_string(),
        }
    });
    let parts: Vec<String> = layer.source.iter().cloned().chain(code).collect();
    parts.join(": ")
}

fn per_cent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Columns as wide as their widest entry; numbers to the right.
fn table<const N: usize>(f: &mut fmt::Formatter<'_>, rows: &[[String; N]], right: [bool; N]) -> fmt::Result {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    for row in rows {
        let cells = row.iter().zip(widths).zip(right);
        let cells: Vec<String> = cells
            .map(|((cell, width), right)| if right { format!("{cell:>width$}") } else { format!("{cell:width$}") })
            .collect();
        writeln!(f, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// `1,234,567`.
pub(super) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(["0", "999", "1,000", "1,234,567"], [0, 999, 1000, 1_234_567].map(grouped)[..]);
    }
}
