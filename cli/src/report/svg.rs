//! The plan of the workspace as a picture: layers to the right, offsets upwards, a box per buffer.

use super::text::grouped;
use super::{Planned, Report};
use std::fmt::Write;

/// Height of the plan.
const HEIGHT: f64 = 460.0;
/// Room for offsets on the left, the title above, names of layers below, the legend on the right.
const LEFT: f64 = 90.0;
const TOP: f64 = 64.0;
const BELOW: f64 = 190.0;
const RIGHT: f64 = 340.0;
/// Most buffers in the legend: the largest.
const LEGEND: usize = 24;
/// Most names of layers under the plan.
const NAMED: usize = 60;
/// Width of a character, about, in units of the font's size.
const CHARACTER: f64 = 0.6;
/// Fills that text in black is legible on.
const FILLS: [&str; 12] = [
    "#8dd3c7", "#ffffb3", "#bebada", "#fb8072", "#80b1d3", "#fdb462", "#b3de69", "#fccde5", "#d9d9d9", "#bc80bd",
    "#ccebc5", "#ffed6f",
];

/// Where things stand in the picture.
struct Scale {
    layers: usize,
    bytes: f64,
    step: f64,
}

impl Scale {
    fn x(&self, layer: usize) -> f64 {
        LEFT + self.step * layer as f64
    }

    fn y(&self, offset: f64) -> f64 {
        TOP + HEIGHT * (1.0 - offset / self.bytes)
    }

    fn right(&self) -> f64 {
        self.x(self.layers)
    }
}

/// The picture.
pub fn svg(report: &Report) -> String {
    // One place more than there are layers: outputs live past the last.
    let layers = report.layers.len() + 1;
    let step = (900.0 / layers as f64).clamp(9.0, 90.0);
    let scale = Scale { layers, bytes: (report.footprint.workspace.max(1)) as f64, step };
    let (width, height) = (scale.right() + RIGHT, TOP + HEIGHT + BELOW);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let title = format!("Workspace of {}: {} bytes", report.model, grouped(report.footprint.workspace));
    text(&mut out, LEFT, 24.0, "font-size=\"16\"", &title);
    for (index, planned) in report.memory.iter().enumerate() {
        buffer(&mut out, &scale, planned, FILLS[index % FILLS.len()]);
    }
    peak(&mut out, &scale, report);
    axes(&mut out, &scale, report);
    legend(&mut out, &scale, report);
    out.push_str("</svg>\n");
    out
}

/// The layer at which most is alive: a frame around it, a line at the least possible size.
fn peak(out: &mut String, scale: &Scale, report: &Report) {
    let totals = &report.totals;
    if report.memory.is_empty() {
        return;
    }
    let (x, least) = (scale.x(totals.peak_index), scale.y(totals.workspace_lower_bound as f64));
    let _ = writeln!(
        out,
        "<rect x=\"{x:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{HEIGHT}\" fill=\"none\" stroke=\"#c00000\" stroke-width=\"2\"/>",
        scale.step
    );
    let _ = writeln!(
        out,
        "<path d=\"M{LEFT} {least:.1}H{:.1}\" stroke=\"#c00000\" stroke-dasharray=\"5 3\"/>",
        scale.right()
    );
    let words = format!("peak: {} bytes alive during {}", grouped(totals.workspace_lower_bound), totals.peak_layer);
    text(out, LEFT, 46.0, "fill=\"#c00000\"", &words);
}

fn buffer(out: &mut String, scale: &Scale, planned: &Planned, fill: &str) {
    let Planned { name, offset, bytes, first, last } = planned;
    let (x, top) = (scale.x(*first), scale.y((offset + bytes) as f64));
    let (width, height) = (scale.x(last + 1) - x, scale.y(*offset as f64) - top);
    let _ = writeln!(
        out,
        "<rect x=\"{x:.1}\" y=\"{top:.2}\" width=\"{width:.1}\" height=\"{height:.2}\" fill=\"{fill}\" stroke=\"#404040\" \
         stroke-width=\"0.6\"><title>{}</title></rect>",
        escaped(&describe(planned))
    );
    let room = (width / (11.0 * CHARACTER)) as usize;
    if height >= 13.0 && room >= 3 {
        text(out, x + 3.0, top + (height / 2.0 + 4.0), "", &shortened(name, room - 1));
    }
}

fn describe(planned: &Planned) -> String {
    let Planned { name, offset, bytes, first, last } = planned;
    format!("{name}: {} bytes at {}, layers {first} to {last}", grouped(*bytes as u64), grouped(*offset as u64))
}

/// Offsets at the left; below, the layers by number and name.
fn axes(out: &mut String, scale: &Scale, report: &Report) {
    let (right, bottom) = (scale.right(), TOP + HEIGHT);
    let _ = writeln!(out, "<path d=\"M{LEFT} {TOP}V{bottom}H{right:.1}\" fill=\"none\" stroke=\"black\"/>");
    for quarter in 0..=4u64 {
        let offset = report.footprint.workspace * quarter / 4;
        let y = scale.y(offset as f64) + 4.0;
        text(out, LEFT - 6.0, y, "text-anchor=\"end\"", &grouped(offset));
    }
    let every = scale.layers.div_ceil(NAMED);
    let names = report.layers.iter().map(|layer| layer.name.as_str()).chain(["outputs"]);
    for (index, name) in names.enumerate().filter(|(index, _)| index % every == 0) {
        let (x, y) = (scale.x(index) + scale.step / 2.0 + 4.0, bottom + 8.0);
        let peak = if index == report.totals.peak_index { " fill=\"#c00000\"" } else { "" };
        let turned = format!("text-anchor=\"end\" transform=\"rotate(-90 {x:.1} {y:.1})\"{peak}");
        text(out, x, y, &turned, &shortened(&format!("{index} {name}"), 27));
    }
}

/// The largest buffers with their sizes.
fn legend(out: &mut String, scale: &Scale, report: &Report) {
    let x = scale.right() + 20.0;
    let mut largest: Vec<(usize, &Planned)> = report.memory.iter().enumerate().collect();
    largest.sort_by_key(|(_, planned)| std::cmp::Reverse(planned.bytes));
    for (row, (index, planned)) in largest.iter().take(LEGEND).enumerate() {
        let y = TOP + 18.0 * row as f64;
        let fill = FILLS[index % FILLS.len()];
        let _ = writeln!(
            out,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"12\" height=\"12\" fill=\"{fill}\" stroke=\"#404040\" stroke-width=\"0.6\"/>"
        );
        let Planned { name, bytes, first, last, .. } = planned;
        let words = format!("{}: {} bytes, {first} to {last}", shortened(name, 20), grouped(*bytes as u64));
        text(out, x + 18.0, y + 10.0, "", &words);
    }
    if largest.len() > LEGEND {
        let words = format!("and {} smaller buffers", largest.len() - LEGEND);
        text(out, x + 18.0, TOP + 18.0 * LEGEND as f64 + 10.0, "", &words);
    }
}

fn text(out: &mut String, x: f64, y: f64, attributes: &str, words: &str) {
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{}</text>", escaped(words));
}

/// At most so many characters.
fn shortened(name: &str, most: usize) -> String {
    match name.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_string(),
    }
}

/// As character data or an attribute; characters that XML cannot say become U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(' '),
            '\0'..' ' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_text() {
        assert_eq!(escaped("a<b>&\"c\"\u{1}\n"), "a&lt;b&gt;&amp;&quot;c&quot;\u{fffd} ");
        assert_eq!([shortened("abc", 3), shortened("äöü", 2)], ["abc", "äö…"]);
    }
}
