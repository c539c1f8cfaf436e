//! Charts as SVG text, written by hand: bars, stacked bars and lines.

use std::fmt::Write;

const COLOURS: [&str; 8] =
    ["#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#9d755d", "#bab0ac"];

fn colour(i: usize) -> &'static str {
    COLOURS.get(i % COLOURS.len()).copied().unwrap_or("#000")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn frame(title: &str, width: u32, height: u32, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"16\" y=\"24\" font-size=\"16\">{}</text>\n{body}</svg>\n",
        escape(title)
    )
}

/// Horizontal bars; each is a label and its parts (one part: a plain bar).
pub fn bars(title: &str, unit: &str, parts: &[&str], rows: &[(String, Vec<f64>)]) -> String {
    let most = rows.iter().map(|(_, v)| v.iter().sum::<f64>()).fold(f64::MIN_POSITIVE, f64::max);
    let mut body = String::new();
    let mut y = 44.0;
    for (label, values) in rows {
        let _ =
            writeln!(body, "<text x=\"210\" y=\"{}\" text-anchor=\"end\">{}</text>", y + 15.0, escape(label));
        let mut x = 218.0;
        for (i, value) in values.iter().enumerate() {
            let width = 420.0 * value / most;
            let _ = writeln!(
                body,
                "<rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"20\" fill=\"{}\"/>",
                colour(i)
            );
            x += width;
        }
        let total: f64 = values.iter().sum();
        let _ = writeln!(body, "<text x=\"{:.1}\" y=\"{}\">{total:.2} {unit}</text>", x + 6.0, y + 15.0);
        y += 28.0;
    }
    for (i, part) in parts.iter().enumerate() {
        let x = 218 + 150 * i;
        let _ = writeln!(
            body,
            "<rect x=\"{x}\" y=\"{y}\" width=\"12\" height=\"12\" fill=\"{}\"/><text x=\"{}\" y=\"{}\">{}</text>",
            colour(i),
            x + 18,
            y + 11.0,
            escape(part)
        );
    }
    frame(title, 780, (y + 28.0) as u32, &body)
}

/// Lines over a logarithmic x axis.
pub fn lines(title: &str, unit: &str, xs: &[usize], series: &[(String, Vec<f64>)]) -> String {
    let most = series.iter().flat_map(|(_, v)| v).copied().fold(f64::MIN_POSITIVE, f64::max);
    let low = xs.iter().min().map_or(0.0, |x| (*x as f64).ln());
    let high = xs.iter().max().map_or(1.0, |x| (*x as f64).ln()).max(low + 1e-9);
    let px = |x: usize| 60.0 + 480.0 * ((x as f64).ln() - low) / (high - low);
    let py = |v: f64| 340.0 - 280.0 * v / most;
    let mut body = String::from("<path d=\"M60 60V340H540\" fill=\"none\" stroke=\"#888\"/>\n");
    for x in xs {
        let _ = writeln!(body, "<text x=\"{:.0}\" y=\"358\" text-anchor=\"middle\">{x}</text>", px(*x));
    }
    let _ = writeln!(
        body,
        "<text x=\"54\" y=\"64\" text-anchor=\"end\">{most:.1}</text><text x=\"54\" y=\"344\" text-anchor=\"end\">0</text>"
    );
    let _ = writeln!(body, "<text x=\"60\" y=\"48\">{unit}</text>");
    for (i, (label, values)) in series.iter().enumerate() {
        let points: Vec<String> =
            xs.iter().zip(values).map(|(x, v)| format!("{:.1},{:.1}", px(*x), py(*v))).collect();
        let y = 70 + 20 * i;
        let _ = writeln!(
            body,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{c}\" stroke-width=\"2\"/>\
             <rect x=\"560\" y=\"{}\" width=\"12\" height=\"12\" fill=\"{c}\"/><text x=\"578\" y=\"{y}\">{}</text>",
            points.join(" "),
            y - 11,
            escape(label),
            c = colour(i)
        );
    }
    frame(title, 800, 376, &body)
}
