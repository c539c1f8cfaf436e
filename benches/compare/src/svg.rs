//! Charts as SVG text, written by hand: bars, stacked bars and lines, readable on light and on dark pages.

use std::fmt::Write;

/// Colours are classes, so that one style sheet serves both backgrounds.
const STYLE: &str = "\
<style>
text{fill:#52514e;font:13px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif}
.page{fill:#fcfcfb}.title{fill:#0b0b0b;font-size:17px;font-weight:600}.strong{fill:#0b0b0b}.small{fill:#75746f;font-size:11.5px}
.grid{stroke:#e4e3dc}.axis{stroke:#a9a89f}.whisker{stroke:#0b0b0b;stroke-opacity:.55}
.c0{fill:#2a78d6}.c1{fill:#1baf7a}.c2{fill:#6a55c9}.c3{fill:#e34948}.c4{fill:#eb6834}.c5{fill:#d99400}.c6{fill:#9b9a93}.c7{fill:#dcdbd3}
.s0{stroke:#2a78d6}.s1{stroke:#1baf7a}.s2{stroke:#6a55c9}.s3{stroke:#e34948}.s4{stroke:#eb6834}.s5{stroke:#d99400}.s6{stroke:#9b9a93}
@media (prefers-color-scheme:dark){
text{fill:#c3c2b7}.page{fill:#1a1a19}.title,.strong{fill:#fff}.small{fill:#97968e}
.grid{stroke:#31312f}.axis{stroke:#6b6a64}.whisker{stroke:#fff}
.c0{fill:#3987e5}.c1{fill:#199e70}.c2{fill:#9085e9}.c3{fill:#e66767}.c4{fill:#d95926}.c5{fill:#c98500}.c6{fill:#7d7c75}.c7{fill:#454541}
.s0{stroke:#3987e5}.s1{stroke:#199e70}.s2{stroke:#9085e9}.s3{stroke:#e66767}.s4{stroke:#d95926}.s5{stroke:#c98500}.s6{stroke:#7d7c75}}
</style>";

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn frame(title: &str, subtitle: &str, width: u32, height: u32, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" \
         aria-label=\"{t}\">\n{STYLE}\n<rect class=\"page\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>\n\
         <text class=\"title\" x=\"20\" y=\"30\">{t}</text>\n<text class=\"small\" x=\"20\" y=\"49\">{}</text>\n{body}</svg>\n",
        escape(subtitle),
        t = escape(title)
    )
}

/// A figure with few digits: `0.87`, `4.9`, `38`.
fn figure(v: f64) -> String {
    match v {
        v if v >= 99.95 => format!("{v:.0}"),
        v if v >= 9.995 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// A step for about five grid lines up to `most`.
fn step(most: f64) -> f64 {
    let power = 10f64.powf((most / 5.0).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| most / s <= 6.0).unwrap_or(most)
}

/// A bar.
pub struct Bar {
    pub label: String,
    pub value: f64,
    /// Slowest and fastest sample.
    pub range: Option<(f64, f64)>,
    /// The shipped engine, not what it is compared with.
    pub ours: bool,
}

/// Horizontal bars with the range of their samples.
pub fn bars(title: &str, subtitle: &str, unit: &str, rows: &[Bar]) -> String {
    const LEFT: f64 = 212.0;
    const WIDTH: f64 = 480.0;
    let top = rows.iter().map(|r| r.range.map_or(r.value, |r| r.1)).fold(f64::MIN_POSITIVE, f64::max);
    let x = |v: f64| LEFT + WIDTH * v / top;
    let bottom = 72.0 + 30.0 * rows.len() as f64;
    let mut body = String::new();
    let grid = step(top);
    for i in 0..=(top / grid) as u32 {
        let value = f64::from(i) * grid;
        let at = x(value);
        let _ = writeln!(
            body,
            "<line class=\"grid\" x1=\"{at:.1}\" y1=\"64\" x2=\"{at:.1}\" y2=\"{bottom}\"/>\
             <text class=\"small\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            bottom + 16.0,
            if grid < 1.0 { format!("{value:.1}") } else { format!("{value:.0}") }
        );
    }
    for (i, r) in rows.iter().enumerate() {
        let y = 70.0 + 30.0 * i as f64;
        let (class, text) = if r.ours { ("c0", "strong") } else { ("c6", "") };
        let _ = writeln!(
            body,
            "<text class=\"{text}\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{class}\" x=\"{LEFT}\" y=\"{y}\" width=\"{:.1}\" height=\"20\" rx=\"3\"/>",
            LEFT - 10.0,
            y + 15.0,
            escape(&r.label),
            WIDTH * r.value / top
        );
        let mut end = x(r.value);
        if let Some((low, high)) = r.range {
            let middle = y + 10.0;
            let _ = writeln!(
                body,
                "<path class=\"whisker\" d=\"M{a:.1} {middle}H{b:.1}M{a:.1} {t}v8M{b:.1} {t}v8\"/>",
                a = x(low),
                b = x(high),
                t = middle - 4.0
            );
            end = end.max(x(high));
        }
        let _ = writeln!(
            body,
            "<text class=\"strong\" x=\"{:.1}\" y=\"{}\">{} {unit}</text>",
            end + 8.0,
            y + 15.0,
            figure(r.value)
        );
    }
    let y = bottom + 40.0;
    let _ = writeln!(
        body,
        "<rect class=\"c6\" x=\"{LEFT}\" y=\"{}\" width=\"12\" height=\"12\" rx=\"2\"/><text x=\"{}\" y=\"{y}\">async engine</text>\
         <rect class=\"c0\" x=\"{}\" y=\"{}\" width=\"12\" height=\"12\" rx=\"2\"/><text x=\"{}\" y=\"{y}\">millstream</text>\
         <text class=\"small\" x=\"{}\" y=\"{y}\">bar: median; line: slowest to fastest sample</text>",
        y - 11.0,
        LEFT + 18.0,
        LEFT + 120.0,
        y - 11.0,
        LEFT + 138.0,
        LEFT + 232.0
    );
    frame(title, subtitle, 790, (y + 20.0) as u32, &body)
}

/// Horizontal bars of parts that make a hundred percent each; the first `counted` parts are summed at the right.
pub fn stacked(
    title: &str,
    subtitle: &str,
    parts: &[&str],
    counted: usize,
    rows: &[(String, Vec<f64>)],
) -> String {
    const LEFT: f64 = 292.0;
    const WIDTH: f64 = 440.0;
    const CLASSES: [&str; 7] = ["c0", "c1", "c2", "c4", "c6", "c5", "c7"];
    let class = |i: usize| CLASSES.get(i).copied().unwrap_or("c6");
    let mut body = String::new();
    let mut x = LEFT - 60.0;
    for (i, part) in parts.iter().enumerate() {
        let _ = writeln!(
            body,
            "<rect class=\"{}\" x=\"{x:.0}\" y=\"63\" width=\"12\" height=\"12\" rx=\"2\"/><text x=\"{:.0}\" y=\"74\">{}</text>",
            class(i),
            x + 17.0,
            escape(part)
        );
        x += 32.0 + 6.4 * part.len() as f64;
    }
    let mut y = 90.0;
    for (label, values) in rows {
        let _ = writeln!(
            body,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            LEFT - 10.0,
            y + 14.0,
            escape(label)
        );
        let whole: f64 = values.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let mut x = LEFT;
        for (i, value) in values.iter().enumerate() {
            let width = WIDTH * value / whole;
            // A gap of the page's colour keeps neighbours apart.
            if width > 0.7 {
                let _ = writeln!(
                    body,
                    "<rect class=\"{}\" x=\"{x:.1}\" y=\"{y}\" width=\"{:.1}\" height=\"18\" rx=\"2\"/>",
                    class(i),
                    (width - 1.5).max(0.7)
                );
            }
            x += width;
        }
        let busy: f64 = values.iter().take(counted).sum();
        let _ = writeln!(
            body,
            "<text class=\"strong\" x=\"{}\" y=\"{}\">{:.0} %</text>",
            LEFT + WIDTH + 8.0,
            y + 14.0,
            100.0 * busy / whole
        );
        y += 26.0;
    }
    frame(title, subtitle, 810, (y + 14.0) as u32, &body)
}

/// A line of a chart; the first three classes are ours.
pub struct Line {
    pub label: String,
    pub class: usize,
    /// Values at the chart's xs; gaps are left out.
    pub values: Vec<Option<f64>>,
    pub dashed: bool,
}

/// Lines over logarithmic axes, each named at its end.
pub fn lines(title: &str, subtitle: &str, unit: &str, xs: &[usize], series: &[Line]) -> String {
    const LEFT: f64 = 56.0;
    const RIGHT: f64 = 590.0;
    const TOP: f64 = 78.0;
    const BOTTOM: f64 = 398.0;
    let all = || series.iter().flat_map(|s| s.values.iter().flatten().copied());
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::MIN_POSITIVE, f64::max));
    let (low, high) = (low.min(high) / 1.15, high * 1.15);
    let first = xs.iter().min().map_or(0.0, |x| (*x as f64).ln());
    let last = xs.iter().max().map_or(1.0, |x| (*x as f64).ln()).max(first + 1e-9);
    let px = |x: usize| LEFT + (RIGHT - LEFT) * ((x as f64).ln() - first) / (last - first);
    let py = |v: f64| BOTTOM - (BOTTOM - TOP) * (v / low).ln() / (high / low).ln();
    let mut body = format!("<text class=\"small\" x=\"20\" y=\"68\">{}</text>\n", escape(unit));
    let decades = (-3..=3).flat_map(|d| [1.0, 2.0, 5.0].map(|m: f64| m * 10f64.powi(d)));
    for value in decades.filter(|v| (low..=high).contains(v)) {
        let y = py(value);
        let _ = writeln!(
            body,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{RIGHT}\" y2=\"{y:.1}\"/>\
             <text class=\"small\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
            LEFT - 8.0,
            y + 4.0
        );
    }
    let _ =
        writeln!(body, "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{BOTTOM}\" x2=\"{RIGHT}\" y2=\"{BOTTOM}\"/>");
    let mut taken = f64::NEG_INFINITY;
    for &x in xs {
        // Neighbours that would overlap give way.
        if px(x) - taken >= 34.0 || x == *xs.last().unwrap_or(&0) {
            let text = if x >= 1000 { format!("{}k", x / 1000) } else { x.to_string() };
            let _ = writeln!(
                body,
                "<text class=\"small\" x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>",
                px(x),
                BOTTOM + 17.0
            );
            taken = px(x);
        }
    }
    let _ = writeln!(
        body,
        "<text class=\"small\" x=\"{:.0}\" y=\"{}\" text-anchor=\"middle\">records of a batch (both axes logarithmic)</text>",
        (LEFT + RIGHT) / 2.0,
        BOTTOM + 36.0
    );
    for s in series {
        let points: Vec<(f64, f64)> =
            xs.iter().zip(&s.values).filter_map(|(x, v)| Some((px(*x), py((*v)?)))).collect();
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let dash = if s.dashed { " stroke-dasharray=\"5 4\"" } else { "" };
        let width = if s.class == 0 { 3.0 } else { 1.8 };
        let _ = writeln!(
            body,
            "<polyline class=\"s{}\" points=\"{}\" fill=\"none\" stroke-width=\"{width}\"{dash} stroke-linejoin=\"round\"/>",
            s.class,
            path.join(" ")
        );
        for (x, y) in points {
            let _ =
                writeln!(body, "<circle class=\"c{}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{width}\"/>", s.class);
        }
    }
    names(&mut body, series, py, RIGHT, BOTTOM);
    frame(title, subtitle, 800, 452, &body)
}

/// Names at the lines' ends, moved apart where they would overlap.
fn names(body: &mut String, series: &[Line], py: impl Fn(f64) -> f64, right: f64, bottom: f64) {
    const APART: f64 = 18.0;
    let mut ends: Vec<(f64, f64, &Line)> = series
        .iter()
        .filter_map(|s| s.values.iter().rev().flatten().next().map(|v| (py(*v), *v, s)))
        .collect();
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut places: Vec<f64> = Vec::new();
    for (y, _, _) in &ends {
        places.push(places.last().map_or(*y, |p: &f64| y.max(p + APART)));
    }
    // What went below the axis is pushed up again.
    let mut limit = bottom;
    for place in places.iter_mut().rev() {
        *place = place.min(limit);
        limit = *place - APART;
    }
    for ((y, value, s), place) in ends.iter().zip(places) {
        let _ = writeln!(
            body,
            "<path class=\"s{}\" d=\"M{} {y:.1}L{} {place:.1}\" fill=\"none\"/>\
             <text class=\"{}\" x=\"{}\" y=\"{:.1}\">{}</text><text class=\"small\" x=\"{}\" y=\"{:.1}\">{}</text>",
            s.class,
            right + 5.0,
            right + 15.0,
            if s.class == 0 { "strong" } else { "" },
            right + 19.0,
            place + 4.5,
            escape(&s.label),
            right + 178.0,
            place + 4.0,
            figure(*value)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_have_round_steps() {
        assert_eq!([step(67.0), step(4.0), step(0.3), step(1000.0)], [20.0, 1.0, 0.05, 200.0]);
    }

    #[test]
    fn text_is_escaped_and_every_row_drawn() {
        let bar = |label: &str| Bar { label: label.into(), value: 1.0, range: Some((0.9, 1.1)), ours: true };
        let svg = bars("a < b", "", "M/s", &[bar("x & y"), bar("z")]);
        assert!(
            svg.contains("a &lt; b") && svg.contains("x &amp; y") && svg.matches("rx=\"3\"").count() == 2
        );
    }

    #[test]
    fn names_at_line_ends_do_not_overlap() {
        let line = |class, v| Line {
            label: format!("l{class}"),
            class,
            values: vec![Some(1.0), Some(v)],
            dashed: false,
        };
        let svg =
            lines("t", "", "M/s", &[1, 1000], &[line(0, 50.0), line(1, 50.1), line(2, 49.9), line(3, 1.0)]);
        let mut ys: Vec<f64> = svg
            .lines()
            .filter_map(|l| {
                l.strip_prefix("<path")?.split("x=\"609\" y=\"").nth(1)?.split('"').next()?.parse().ok()
            })
            .collect();
        ys.sort_by(f64::total_cmp);
        assert_eq!(ys.len(), 4);
        assert!(ys.windows(2).all(|w| w[1] - w[0] >= 17.9), "{ys:?}");
    }
}
