//! Layers summed up by the modules of the Python model.

use super::Layer;
use serde::Serialize;

/// A module and all that it contains, modules below it included.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Module {
    /// Its path; empty for the whole model.
    pub path: String,
    /// How many layers.
    pub layers: usize,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes of weights.
    pub parameter_bytes: u64,
    /// Estimated share of a call's time, 0 to 1.
    pub time_share: f64,
}

impl Module {
    /// How many modules are around it.
    pub(super) fn depth(&self) -> usize {
        if self.path.is_empty() { 0 } else { 1 + self.path.matches('.').count() }
    }

    fn add(&mut self, layer: &Layer) {
        self.layers += 1;
        self.macs = self.macs.saturating_add(layer.macs);
        self.parameter_bytes += layer.parameter_bytes;
        self.time_share += layer.time_share;
    }
}

/// Every module with a layer in it, the whole model first, each before those in it; siblings in the order in which they are
/// first run.
pub(super) fn modules(layers: &[Layer]) -> Vec<Module> {
    let mut found = vec![Module::default()];
    for layer in layers {
        found[0].add(layer);
        let mut after = 0;
        let ends = layer.module.match_indices('.').map(|(at, _)| at).chain([layer.module.len()]);
        for end in ends.filter(|end| *end > 0) {
            let path = &layer.module[..end];
            after = match found.iter().position(|module| module.path == path) {
                Some(known) => known,
                None => {
                    let place = end_of(&found, after);
                    found.insert(place, Module { path: path.into(), ..Module::default() });
                    place
                }
            };
            found[after].add(layer);
        }
    }
    found
}

/// Where the modules in this one end.
fn end_of(modules: &[Module], parent: usize) -> usize {
    let depth = modules[parent].depth();
    let inside = modules[parent + 1..].iter().take_while(|module| module.depth() > depth).count();
    parent + 1 + inside
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(module: &str, macs: u64) -> Layer {
        Layer {
            name: String::new(),
            operator: String::new(),
            module: module.into(),
            source: None,
            code: None,
            nodes: vec![],
            output: String::new(),
            macs,
            parameter_bytes: 1,
            time_share: 0.25,
        }
    }

    #[test]
    fn a_module_contains_those_below_it() {
        let layers = [layer("a.0", 1), layer("b", 2), layer("a.0.c", 4), layer("", 8)];
        let rows: Vec<(String, usize, u64)> =
            modules(&layers).into_iter().map(|m| (m.path, m.layers, m.macs)).collect();
        let expected = [("", 4, 15), ("a", 2, 5), ("a.0", 2, 5), ("a.0.c", 1, 4), ("b", 1, 2)];
        assert_eq!(rows, expected.map(|(path, layers, macs)| (path.to_string(), layers, macs)));
        assert!((modules(&layers)[0].time_share - 1.0).abs() < 1e-9);
    }
}
