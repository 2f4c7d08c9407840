//! Plots as SVG, as little of it as they need.

use std::fmt::Write as _;

/// Colours that are told apart also by those who do not see all of them (Okabe and Ito, 2008), and one more.
pub(crate) const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999933", "#000000"];

/// A picture on white.
pub(crate) struct Svg(String);

impl Svg {
    /// In pixels.
    pub(crate) fn new(width: f64, height: f64) -> Self {
        Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             font-family=\"sans-serif\" font-size=\"11\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        ))
    }

    /// A line through points.
    pub(crate) fn line(&mut self, points: &[(f64, f64)], colour: &str, width: f64) {
        self.stroke(points, colour, &format!("stroke-width=\"{width}\""));
    }

    /// A dashed one.
    pub(crate) fn dashes(&mut self, points: &[(f64, f64)], colour: &str) {
        self.stroke(points, colour, "stroke-width=\"1\" stroke-dasharray=\"5 4\"");
    }

    fn stroke(&mut self, points: &[(f64, f64)], colour: &str, how: &str) {
        let points: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let points = points.join(" ");
        self.put(&format!("<polyline fill=\"none\" stroke=\"{colour}\" {how} points=\"{points}\"/>"));
    }

    /// A text; `anchor` is start, middle or end.
    pub(crate) fn text(&mut self, x: f64, y: f64, anchor: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        self.put(&format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"));
    }

    fn put(&mut self, element: &str) {
        // To a string it cannot fail.
        let _ = writeln!(self.0, "{element}");
    }

    pub(crate) fn finish(self) -> String {
        self.0 + "</svg>\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_well_formed() {
        let mut svg = Svg::new(10.0, 20.0);
        svg.line(&[(0.0, 1.0), (2.5, 3.04)], "#000", 1.5);
        svg.text(1.0, 2.0, "start", "a < b & c");
        let text = svg.finish();
        assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
        assert!(text.contains("points=\"0.0,1.0 2.5,3.0\"") && text.contains("a &lt; b &amp; c"), "{text}");
    }
}
