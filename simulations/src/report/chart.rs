//! A chart as inline SVG: axes with units, a legend, and layers of lines, areas, bars and marks.
//! What is drawn is `plots`' business; colours are classes that the page's style gives a meaning.

use std::fmt::Write as _;

/// The canvas, in its own units; the page scales it.
const HEIGHT: f64 = 290.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 44.0;
/// Values that an axis names, about.
const TICKS: f64 = 6.0;
/// The most points of a line: more than there are columns on a screen.
const POINTS: usize = 1_500;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    Linear,
    Log,
}

/// One direction of a chart.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) label: &'static str,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) scale: Scale,
    /// How a tick is written.
    pub(super) text: fn(f64) -> String,
}

impl Axis {
    pub(super) fn linear(label: &'static str, high: f64, text: fn(f64) -> String) -> Self {
        Self { label, low: 0.0, high: nice_end(high), scale: Scale::Linear, text }
    }

    /// From a power of ten to a power of ten around the values.
    pub(super) fn log(label: &'static str, low: f64, high: f64, text: fn(f64) -> String) -> Self {
        let low = 10_f64.powf(low.max(1e-6).log10().floor());
        let high = 10_f64.powf(high.max(low * 1.01).log10().ceil());
        Self { label, low, high, scale: Scale::Log, text }
    }

    /// Where a value lies, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let place = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
        };
        place.clamp(0.0, 1.0)
    }

    /// About `wanted` round values, or every decade.
    fn ticks(&self, wanted: f64) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = nice_step(self.high - self.low, wanted);
                let count = ((self.high - self.low) / step + 1e-9).floor();
                counted(count).map(|n| self.low + step * n).collect()
            }
            Scale::Log => {
                let decades = (self.high / self.low).log10().round();
                counted(decades).map(|n| self.low * 10_f64.powf(n)).collect()
            }
        }
    }
}

/// 0, 1, … `last`.
fn counted(last: f64) -> impl Iterator<Item = f64> {
    std::iter::successors(Some(0.0), |n| Some(n + 1.0)).take_while(move |n| *n <= last)
}

/// 1, 2 or 5 times a power of ten, so that about `wanted` of it make `length`.
fn nice_step(length: f64, wanted: f64) -> f64 {
    let rough = (length / wanted).max(1e-9);
    let power = 10_f64.powf(rough.log10().floor());
    let digit = rough / power;
    power
        * if digit <= 1.0 {
            1.0
        } else if digit <= 2.0 {
            2.0
        } else if digit <= 5.0 {
            5.0
        } else {
            10.0
        }
}

fn nice_end(high: f64) -> f64 {
    let high = if high > 0.0 { high } else { 1.0 };
    let step = nice_step(high, TICKS);
    (high / step - 1e-9).ceil() * step
}

/// A chart that is being drawn.
#[derive(Debug)]
pub(super) struct Chart {
    id: &'static str,
    title: String,
    about: String,
    wide: bool,
    height: f64,
    x: Axis,
    y: Axis,
    body: String,
    legend: Vec<(&'static str, String)>,
}

impl Chart {
    pub(super) fn new(id: &'static str, title: &str, about: String, x: Axis, y: Axis) -> Self {
        let (body, legend) = (String::new(), Vec::new());
        Self { id, title: title.to_owned(), about, wide: false, height: HEIGHT, x, y, body, legend }
    }

    /// Over the whole width of the page.
    pub(super) fn wide(mut self) -> Self {
        self.wide = true;
        self
    }

    pub(super) fn tall(mut self, height: f64) -> Self {
        self.height = height;
        self
    }

    const fn width(&self) -> f64 {
        if self.wide { 1_100.0 } else { 540.0 }
    }

    pub(super) fn at_x(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (self.width() - LEFT - RIGHT)
    }

    pub(super) fn at_y(&self, value: f64) -> f64 {
        let bottom = self.height - BOTTOM;
        bottom - self.y.place(value) * (bottom - TOP)
    }

    pub(super) fn legend(&mut self, class: &'static str, label: impl Into<String>) {
        self.legend.push((class, label.into()));
    }

    /// A line through the points, straight or as steps.
    pub(super) fn line(&mut self, class: &str, points: &[(f64, f64)], steps: bool) {
        let path = self.path(points, steps);
        let _ = write!(self.body, "<path class=\"line {class}\" d=\"{path}\"/>");
    }

    /// What is between the points and the ground.
    pub(super) fn area(&mut self, class: &str, points: &[(f64, f64)], steps: bool) {
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
        let path = self.path(points, steps);
        let (left, right) = (self.at_x(first.0), self.at_x(last.0));
        let ground = self.at_y(self.y.low);
        let _ = write!(
            self.body,
            "<path class=\"area {class}\" d=\"{path}L{right:.1} {ground:.1}L{left:.1} {ground:.1}Z\"/>"
        );
    }

    /// A bar from one corner to the other, with a text that is shown when it is pointed at.
    pub(super) fn bar(&mut self, class: &str, from: (f64, f64), to: (f64, f64), text: &str) {
        let (left, right) = (self.at_x(from.0), self.at_x(to.0));
        let (bottom, top) = (self.at_y(from.1), self.at_y(to.1));
        self.rectangle(class, (left, top), (right - left, bottom - top), text);
    }

    /// In the chart's own units.
    pub(super) fn rectangle(&mut self, class: &str, at: (f64, f64), size: (f64, f64), text: &str) {
        let (width, height) = (size.0.max(0.6), size.1.max(0.6));
        let title = match text {
            "" => String::new(),
            text => format!("<title>{}</title>", escape(text)),
        };
        let _ = write!(
            self.body,
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" \
             height=\"{height:.1}\">{title}</rect>",
            at.0, at.1
        );
    }

    /// A line from top to bottom at a moment.
    pub(super) fn mark(&mut self, class: &str, at: f64, text: &str) {
        let (x, bottom) = (self.at_x(at), self.height - BOTTOM);
        let (left, right, tip) = (x - 4.0, x + 4.0, TOP + 1.0);
        let _ = write!(
            self.body,
            "<g class=\"mark {class}\"><title>{}</title><line x1=\"{x:.1}\" y1=\"{TOP}\" \
             x2=\"{x:.1}\" y2=\"{bottom}\"/><path d=\"M{left:.1} {:.1}H{right:.1}L{x:.1} \
             {tip:.1}Z\"/></g>",
            escape(text),
            TOP - 6.0
        );
    }

    /// A line from side to side at a value.
    pub(super) fn level(&mut self, at: f64, text: &str) {
        let (y, right) = (self.at_y(at), self.width() - RIGHT);
        let _ = write!(
            self.body,
            "<line class=\"mean\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/>\
             <text x=\"{right}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            y - 5.0,
            escape(text)
        );
    }

    /// A few words that begin at a place.
    pub(super) fn words(&mut self, x: f64, y: f64, text: &str) {
        let (x, y) = (self.at_x(x) + 2.0, self.at_y(y));
        let _ = write!(self.body, "<text x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escape(text));
    }

    fn path(&self, points: &[(f64, f64)], steps: bool) -> String {
        let mut path = String::new();
        let every = points.len().div_ceil(POINTS).max(1);
        for group in points.chunks(every) {
            // Of points that share a column, the highest: a peak must not vanish.
            let Some(point) = group.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)) else {
                continue;
            };
            let (x, y) = (self.at_x(point.0), self.at_y(point.1));
            let _ = match (path.is_empty(), steps) {
                (true, _) => write!(path, "M{x:.1} {y:.1}"),
                (false, true) => write!(path, "H{x:.1}V{y:.1}"),
                (false, false) => write!(path, "L{x:.1} {y:.1}"),
            };
        }
        path
    }

    /// The chart as an HTML figure.
    pub(super) fn html(self) -> String {
        let (width, height) = (self.width(), self.height);
        let (id, title, about) = (self.id, escape(&self.title), escape(&self.about));
        let class = if self.wide { " class=\"wide\"" } else { "" };
        let mut html = format!(
            "<figure{class}><h2>{title}</h2><p>{about}</p>\
             <svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
             <title id=\"{id}-t\">{title}</title><desc id=\"{id}-d\">{about}</desc>"
        );
        self.axes(&mut html);
        html.push_str(&self.body);
        self.key(&mut html);
        html.push_str("</svg></figure>");
        html
    }

    fn axes(&self, html: &mut String) {
        let (right, bottom) = (self.width() - RIGHT, self.height - BOTTOM);
        for value in self.y.ticks(TICKS) {
            let (y, text) = (self.at_y(value), escape(&(self.y.text)(value)));
            let _ = write!(
                html,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                LEFT - 8.0,
                y + 4.0
            );
        }
        for value in self.x.ticks(if self.wide { 2.0 * TICKS } else { TICKS }) {
            let (x, text) = (self.at_x(value), escape(&(self.x.text)(value)));
            // The last one stays within the picture.
            let anchor = if x > right - 12.0 { "end" } else { "middle" };
            let _ = write!(
                html,
                "<line class=\"axis\" x1=\"{x:.1}\" y1=\"{bottom}\" x2=\"{x:.1}\" y2=\"{}\"/>\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{text}</text>",
                bottom + 5.0,
                bottom + 18.0
            );
        }
        let _ = write!(
            html,
            "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{bottom}\" x2=\"{right}\" y2=\"{bottom}\"/>\
             <text x=\"{right}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <text x=\"4\" y=\"14\">{}</text>",
            self.height - 6.0,
            escape(self.x.label),
            escape(self.y.label)
        );
    }

    fn key(&self, html: &mut String) {
        // From the right, since the axis label stands on the left. Letters are about this wide.
        let mut x = self.width() - RIGHT;
        for (class, label) in self.legend.iter().rev() {
            let length = label.chars().fold(0.0, |sum, _| sum + 6.4);
            x -= length;
            let _ = write!(html, "<text x=\"{x:.1}\" y=\"14\">{}</text>", escape(label));
            x -= 26.0;
            let _ = match class.strip_prefix('s') {
                Some(_) => write!(
                    html,
                    "<line class=\"line {class}\" x1=\"{x:.1}\" y1=\"10\" x2=\"{:.1}\" y2=\"10\"/>",
                    x + 20.0
                ),
                None => write!(
                    html,
                    "<rect class=\"{class}\" x=\"{:.1}\" y=\"4\" width=\"12\" height=\"12\"/>",
                    x + 8.0
                ),
            };
            x -= 12.0;
        }
    }
}

/// Text that means itself within HTML.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// As in 2.5k, 3M.
pub(super) fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, "G"),
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text =
        if value.fract().abs() < 0.005 { format!("{value:.0}") } else { format!("{value:.1}") };
    format!("{text}{unit}")
}

/// Bytes in decimal units.
pub(super) fn bytes(value: f64) -> String {
    let text = short(value);
    match text.strip_suffix(['k', 'M', 'G']) {
        Some(number) => format!("{number} {}B", &text[number.len()..]),
        None => format!("{text} B"),
    }
}

pub(super) fn percent(value: f64) -> String {
    format!("{value:.0} %")
}

/// Milliseconds in the unit that fits.
pub(super) fn milliseconds(value: f64) -> String {
    let (value, unit) = match value {
        _ if value >= 3_600_000.0 => (value / 3_600_000.0, "h"),
        _ if value >= 60_000.0 => (value / 60_000.0, "min"),
        _ if value >= 1_000.0 => (value / 1_000.0, "s"),
        _ => (value, "ms"),
    };
    let digits = if value.fract() < 0.05 || value >= 100.0 { 0 } else { 1 };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_on_round_numbers_and_hold_their_values() {
        for (high, end) in [(0.0, 1.0), (7.0, 8.0), (97.0, 100.0), (1_234.0, 1_500.0)] {
            assert!((nice_end(high) - end).abs() < 1e-9, "{high}: {}", nice_end(high));
        }
        let axis = Axis::linear("", 97.0, short);
        let ticks = axis.ticks(TICKS);
        assert!((4..=11).contains(&ticks.len()), "{ticks:?}");
        let axis = Axis::log("", 3.0, 70_000.0, milliseconds);
        assert_eq!(axis.ticks(TICKS), [1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0]);
        assert_eq!([axis.place(0.0), axis.place(1e9)], [0.0, 1.0]);
    }

    #[test]
    fn texts_are_short_and_mean_themselves() {
        assert_eq!([short(950.0), short(2_500.0), short(3e6)], ["950", "2.5k", "3M"]);
        assert_eq!([bytes(12.0), bytes(42_448.0)], ["12 B", "42.4 kB"]);
        assert_eq!([milliseconds(10.0), milliseconds(90_000.0)], ["10 ms", "1.5 min"]);
        assert_eq!(escape("<a href='x'>&\""), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
    }

    #[test]
    fn a_long_line_is_thinned_and_keeps_its_peak() {
        let points: Vec<_> =
            (0..100_000).map(|n| (f64::from(n), if n == 50_001 { 9.0 } else { 1.0 })).collect();
        let x = Axis::linear("s", 100_000.0, short);
        let mut chart = Chart::new("c", "t", "a".to_owned(), x, Axis::linear("n", 9.0, short));
        chart.line("sa", &points, false);
        let peak = format!(" {:.1}", chart.at_y(9.0));
        assert!(chart.body.contains(&peak));
        assert!(chart.body.len() < 40_000, "{}", chart.body.len());
    }
}
