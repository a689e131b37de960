//! Draws a picture of a few lines over the one before, in one write and without blanking it, so
//! that nothing flickers. Survives a terminal that changes its size.

use std::fmt::Write;

use crate::cli::error::CommandError;
use crate::cli::output::Stream;

/// The lower end of a terminal.
#[derive(Debug)]
pub(super) struct Canvas {
    stream: Stream,
    colours: bool,
    /// Columns of each line of the picture that is there.
    drawn: Vec<usize>,
}

impl Canvas {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, colours: stream.has_colours(), drawn: Vec::new() }
    }

    pub(super) const fn colours(&self) -> bool {
        self.colours
    }

    /// Columns and rows of the terminal.
    pub(super) fn size(&self) -> (usize, usize) {
        self.stream.size().unwrap_or(UNKNOWN_SIZE)
    }

    pub(super) fn draw(&mut self, lines: &[String]) -> Result<(), CommandError> {
        let text = self.replace(lines, self.size());
        self.stream.write(text.as_bytes())
    }

    /// The characters that replace the last picture by `lines`, cut to the terminal.
    fn replace(&mut self, lines: &[String], (columns, rows): (usize, usize)) -> String {
        let columns = columns.max(2);
        // A narrowed terminal has folded the longer lines of the last picture.
        let up: usize = self.drawn.iter().map(|width| width.div_ceil(columns).max(1)).sum();
        let mut text = String::new();
        if up > 0 {
            write!(text, "\x1b[{}A", up.min(rows.saturating_sub(1)).max(1)).ok();
        }
        self.drawn.clear();
        // The cursor rests below the picture; one more line would push its top out of reach.
        for line in lines.iter().take(rows.saturating_sub(1)) {
            let line = console::truncate_str(line, columns - 1, "…");
            self.drawn.push(console::measure_text_width(&line));
            write!(text, "\r{line}\x1b[K\n").ok();
        }
        text.push_str("\x1b[J");
        text
    }
}

/// What terminals have had since there are any.
const UNKNOWN_SIZE: (usize, usize) = (80, 24);

#[cfg(test)]
mod tests {
    use super::*;

    fn canvas() -> Canvas {
        Canvas { stream: Stream::Stdout, colours: false, drawn: Vec::new() }
    }

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn a_picture_replaces_the_last_one_from_its_top() {
        let mut canvas = canvas();
        let first = canvas.replace(&lines(&["one", "two"]), (80, 24));
        assert_eq!(first, "\rone\x1b[K\n\rtwo\x1b[K\n\x1b[J");
        let second = canvas.replace(&lines(&["three"]), (80, 24));
        assert_eq!(second, "\x1b[2A\rthree\x1b[K\n\x1b[J");
    }

    #[test]
    fn lines_that_a_narrow_terminal_folded_are_counted() {
        let mut canvas = canvas();
        canvas.replace(&lines(&[&"x".repeat(70), "short"]), (80, 24));
        let narrow = canvas.replace(&lines(&["a"]), (30, 24));
        assert!(narrow.starts_with("\x1b[4A"), "{narrow:?}");
    }

    #[test]
    fn a_picture_never_exceeds_the_terminal() {
        let mut canvas = canvas();
        let text = canvas.replace(&lines(&["0123456789", "b", "c", "d"]), (5, 3));
        assert_eq!(text, "\r012…\x1b[K\n\rb\x1b[K\n\x1b[J");
    }
}
