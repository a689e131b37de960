//! Curves as text: points in, lines out. The first series is a line of braille dots, the others
//! are marks on top of it, so that they differ without colours as well.

use std::cmp::Ordering;

use super::quantity::number;

/// A curve.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Series<'a> {
    pub(crate) name: &'a str,
    /// In the order of x; those that are not finite are left out.
    pub(crate) points: &'a [(f64, f64)],
}

/// The paper: how many characters the curves get, and what lies along x.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paper<'a> {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
    /// First and last x.
    pub(crate) span: (f64, f64),
    pub(crate) title: &'a str,
    pub(crate) colours: bool,
}

/// Draws the curves with labelled axes: `rows` lines, then the axis, its numbers and a legend.
/// Nothing when there is no point to draw.
pub(crate) fn plot(series: &[Series<'_>], paper: &Paper<'_>) -> Vec<String> {
    let Some((low, high)) = range(series) else { return Vec::new() };
    if paper.columns == 0 || paper.rows == 0 {
        return Vec::new();
    }
    let mut grid = Grid::new(paper, (low, high));
    for (index, series) in series.iter().enumerate() {
        match index {
            0 => grid.line(series.points),
            _ => grid.marks(series.points),
        }
    }
    let labels = labels(paper.rows, low, high);
    let width = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    let mut lines: Vec<_> = (0..paper.rows)
        .map(|row| {
            let tick = if labels[row].is_empty() { '│' } else { '┤' };
            format!("{:>width$} {tick}{}", labels[row], grid.row(row, paper.colours))
        })
        .collect();
    lines.push(format!("{:width$} └{}", "", "─".repeat(paper.columns)));
    lines.push(format!("{:width$}  {}", "", feet(paper)));
    lines.push(format!("{:width$}  {}", "", legend(series, paper.colours)));
    lines
}

/// The lowest and highest y, never the same.
fn range(series: &[Series<'_>]) -> Option<(f64, f64)> {
    let points = series.iter().flat_map(|series| series.points).filter(|point| finite(point));
    let (low, high) = points.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (_, y)| {
        (low.min(*y), high.max(*y))
    });
    match low.is_finite() && high.is_finite() {
        true if high - low > f64::EPSILON * high.abs() => Some((low, high)),
        true => Some((low - FLAT, high + FLAT)),
        false => None,
    }
}

/// The numbers at the top, in the middle and at the bottom.
fn labels(rows: usize, low: f64, high: f64) -> Vec<String> {
    let mut labels = vec![String::new(); rows];
    labels[rows - 1] = number(low);
    if rows >= 5 {
        labels[rows / 2] = number(high - (high - low) * (rows / 2) as f64 / (rows - 1) as f64);
    }
    labels[0] = number(high);
    labels
}

/// First x, title and last x below the axis.
fn feet(paper: &Paper<'_>) -> String {
    let plain = |x: f64| if x.fract() == 0.0 { format!("{x:.0}") } else { number(x) };
    let (first, last) = (plain(paper.span.0), plain(paper.span.1));
    let taken = first.chars().count() + last.chars().count();
    let room = paper.columns.saturating_sub(taken);
    let title = if paper.title.chars().count() + 2 <= room { paper.title } else { "" };
    format!("{first}{title:^room$}{last}")
}

fn legend(series: &[Series<'_>], colours: bool) -> String {
    let entry = |(index, series): (usize, &Series<'_>)| {
        let ink = if index == 0 { Ink::Line } else { Ink::Mark };
        let sign = if index == 0 { "⠤⠤" } else { "•" };
        format!("{} {}", ink.paint(sign, colours), series.name)
    };
    let drawn = series.iter().enumerate().filter(|(_, series)| series.points.iter().any(finite));
    drawn.map(entry).collect::<Vec<_>>().join("   ")
}

fn finite((x, y): &(f64, f64)) -> bool {
    x.is_finite() && y.is_finite()
}

/// What a character shows, which decides its colour.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ink {
    None,
    Line,
    Mark,
}

impl Ink {
    fn paint(self, text: &str, colours: bool) -> String {
        let style = console::Style::new().force_styling(true);
        match self {
            Self::Line if colours => style.cyan().apply_to(text).to_string(),
            Self::Mark if colours => style.yellow().apply_to(text).to_string(),
            Self::None | Self::Line | Self::Mark => text.to_owned(),
        }
    }
}

/// Characters of two by four dots each.
struct Grid {
    columns: usize,
    rows: usize,
    span: (f64, f64),
    range: (f64, f64),
    /// Bits of the braille pattern, row after row.
    dots: Vec<u8>,
    marks: Vec<bool>,
}

impl Grid {
    fn new(paper: &Paper<'_>, range: (f64, f64)) -> Self {
        let (columns, rows) = (paper.columns, paper.rows);
        let cells = columns * rows;
        let (dots, marks) = (vec![0; cells], vec![false; cells]);
        Self { columns, rows, span: paper.span, range, dots, marks }
    }

    /// The dot of a point, from the left and from the top.
    fn dot(&self, (x, y): (f64, f64)) -> (usize, usize) {
        let scaled = |value: f64, (from, to): (f64, f64), dots: usize| {
            let share = if to > from { (value - from) / (to - from) } else { 0.0 };
            // The cast saturates, and the share is within 0 and 1.
            (share.clamp(0.0, 1.0) * (dots - 1) as f64).round() as usize
        };
        let column = scaled(x, self.span, self.columns * 2);
        let height = scaled(y, self.range, self.rows * 4);
        (column, self.rows * 4 - 1 - height)
    }

    fn set(&mut self, column: usize, row: usize) {
        let bit = match (column % 2, row % 4) {
            (0, 3) => 6,
            (1, 3) => 7,
            (0, row) => row,
            (_, row) => row + 3,
        };
        self.dots[row / 4 * self.columns + column / 2] |= 1 << bit;
    }

    /// Connects the points; those that fall into one column of dots are averaged.
    fn line(&mut self, points: &[(f64, f64)]) {
        let mut means: Vec<(usize, f64, f64)> = Vec::new();
        for &point in points.iter().filter(|point| finite(point)) {
            let (column, _row) = self.dot(point);
            match means.last_mut() {
                Some((last, sum, count)) if *last == column => {
                    *sum += point.1;
                    *count += 1.0;
                }
                _ => means.push((column, point.1, 1.0)),
            }
        }
        let mut before: Option<(usize, usize)> = None;
        for (column, sum, count) in means {
            let (_, row) = self.dot((self.span.0, sum / count));
            match before {
                Some(before) if before.0 < column => self.stroke(before, (column, row)),
                Some(_) | None => self.set(column, row),
            }
            before = Some((column, row));
        }
    }

    /// Every column between two dots, as high as the line is steep.
    fn stroke(&mut self, from: (usize, usize), to: (usize, usize)) {
        let run = (to.0 - from.0) as f64;
        let mut last = from.1;
        for column in from.0..=to.0 {
            let share = (column - from.0) as f64 / run;
            let row = from.1 as f64 + (to.1 as f64 - from.1 as f64) * share;
            let row = row.round() as usize;
            // Up to the row before would draw every step twice as thick.
            let steps = match last.cmp(&row) {
                Ordering::Less => last + 1..=row,
                Ordering::Equal => row..=row,
                Ordering::Greater => row..=last - 1,
            };
            for row in steps {
                self.set(column, row);
            }
            last = row;
        }
    }

    fn marks(&mut self, points: &[(f64, f64)]) {
        for &point in points.iter().filter(|point| finite(point)) {
            let (column, row) = self.dot(point);
            self.marks[row / 4 * self.columns + column / 2] = true;
        }
    }

    /// A row of characters, without the spaces at its end.
    fn row(&self, row: usize, colours: bool) -> String {
        let cells = (row * self.columns)..((row + 1) * self.columns);
        let last = cells.clone().rev().find(|&cell| self.marks[cell] || self.dots[cell] != 0);
        let Some(last) = last else { return String::new() };
        let mut text = String::new();
        let mut run = (Ink::None, String::new());
        for cell in cells.start..=last {
            let (ink, sign) = match (self.marks[cell], self.dots[cell]) {
                (true, _) => (Ink::Mark, '•'),
                (false, 0) => (Ink::None, ' '),
                (false, dots) => (Ink::Line, braille(dots)),
            };
            if ink != run.0 {
                text.push_str(&run.0.paint(&run.1, colours));
                run = (ink, String::new());
            }
            run.1.push(sign);
        }
        text + &run.0.paint(&run.1, colours)
    }
}

/// The braille pattern with these dots (Unicode block 2800).
fn braille(dots: u8) -> char {
    char::from_u32(0x2800 + u32::from(dots)).expect("the block has 256 characters")
}

/// Half the height around a curve that is flat.
const FLAT: f64 = 0.5;

#[cfg(test)]
mod tests {
    use super::*;

    fn paper(columns: usize, rows: usize, last: f64) -> Paper<'static> {
        Paper { columns, rows, span: (0.0, last), title: "epoch", colours: false }
    }

    fn draw(points: &[(f64, f64)], marks: &[(f64, f64)], paper: &Paper<'_>) -> Vec<String> {
        let series =
            [Series { name: "loss", points }, Series { name: "validation loss", points: marks }];
        plot(&series, paper)
    }

    #[test]
    fn a_falling_line_goes_from_the_upper_left_to_the_lower_right() {
        let lines = draw(&[(0.0, 2.0), (4.0, 0.0)], &[], &paper(8, 2, 4.0));
        assert_eq!(
            lines,
            [
                "2.0000 ┤⠉⠒⠤⣀",
                "     0 ┤    ⠉⠒⠤⣀",
                "       └────────",
                "        0      4",
                "        ⠤⠤ loss",
            ]
            .map(str::to_owned)
            .to_vec(),
            "{lines:#?}"
        );
    }

    #[test]
    fn marks_lie_over_the_line_and_have_their_own_legend() {
        let marks = [(0.0, 1.0), (2.0, 0.0)];
        let lines = draw(&[(0.0, 1.0), (2.0, 0.0)], &marks, &paper(4, 1, 2.0));
        assert_eq!(lines[0].matches('•').count(), 2);
        assert!(lines.last().is_some_and(|line| line.contains("• validation loss")));
    }

    #[test]
    fn what_cannot_be_drawn_is_left_out() {
        assert!(draw(&[], &[], &paper(8, 2, 1.0)).is_empty());
        assert!(draw(&[(0.0, f64::NAN)], &[], &paper(8, 2, 1.0)).is_empty());
        assert!(draw(&[(0.0, 1.0)], &[], &paper(0, 2, 1.0)).is_empty());
        assert!(draw(&[(0.0, 1.0)], &[], &paper(8, 0, 1.0)).is_empty());
        let lines = draw(&[(0.0, 1.0), (1.0, f64::INFINITY), (2.0, 3.0)], &[], &paper(8, 2, 2.0));
        assert!(lines[0].starts_with("3.0000"));
    }

    #[test]
    fn flat_curves_and_huge_values_have_a_place() {
        for y in [0.0, 5.0, -3.0, 1e300, 1e-300] {
            let lines = draw(&[(0.0, y), (9.0, y)], &[], &paper(10, 4, 9.0));
            assert_eq!(lines.len(), 7, "{y}");
        }
        let extremes = [(0.0, f64::MIN), (1.0, f64::MAX)];
        assert_eq!(draw(&extremes, &[], &paper(10, 4, 1.0)).len(), 7);
        // Points beyond the paper stay at its edge.
        assert_eq!(draw(&[(-5.0, 1.0), (50.0, 2.0)], &[], &paper(10, 4, 1.0)).len(), 7);
    }

    #[test]
    fn no_line_is_wider_than_the_paper_and_its_labels() {
        let points: Vec<_> =
            (0..500).map(|step| (f64::from(step) / 10.0, 2.3 / f64::from(step + 1))).collect();
        let lines = draw(&points, &points[..50], &paper(60, 8, 50.0));
        assert_eq!(lines.len(), 11);
        assert!(lines.iter().all(|line| line.chars().count() <= 60 + 10), "{lines:#?}");
        assert!(lines[9].contains("epoch") && lines[9].ends_with("50"));
    }

    #[test]
    fn colours_change_no_character() {
        let points = [(0.0, 2.0), (4.0, 0.0)];
        let plain = draw(&points, &points, &paper(8, 3, 4.0));
        let coloured = draw(&points, &points, &Paper { colours: true, ..paper(8, 3, 4.0) });
        assert_ne!(plain, coloured);
        let stripped: Vec<_> =
            coloured.iter().map(|line| console::strip_ansi_codes(line).into_owned()).collect();
        assert_eq!(plain, stripped);
    }
}
