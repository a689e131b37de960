//! An NPY array of f32 whose shape is known before its values.
//! Format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::io::{self, Write};

/// Values that are still to come, and where they go.
pub(super) struct Array<W> {
    sink: W,
    missing: usize,
}

impl<W: Write> Array<W> {
    pub(super) fn new(shape: &[usize], mut sink: W) -> io::Result<Self> {
        let lengths: Vec<String> = shape.iter().map(usize::to_string).collect();
        // A tuple of one has a comma behind it.
        let alone = if shape.len() == 1 { "," } else { "" };
        let lengths = format!("{}{alone}", lengths.join(", "));
        let mut header =
            format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({lengths}), }}");
        // Room for more rows, as whoever appends some writes their number here.
        let rows = shape.first().map_or(0, |rows| rows.to_string().len());
        header.push_str(&" ".repeat(ROWS_DIGITS.saturating_sub(rows)));
        // Values begin at a multiple of 64 bytes, behind a line end.
        let begin = (PREFIX_BYTES + header.len() + 1).next_multiple_of(64);
        header.push_str(&" ".repeat(begin - PREFIX_BYTES - header.len() - 1));
        header.push('\n');
        let length = u16::try_from(header.len()).expect("a shape of few axes is a short text");
        sink.write_all(b"\x93NUMPY\x01\x00")?;
        sink.write_all(&length.to_le_bytes())?;
        sink.write_all(header.as_bytes())?;
        Ok(Self { sink, missing: shape.iter().product() })
    }

    pub(super) fn write(&mut self, values: &[f32]) -> io::Result<()> {
        assert!(values.len() <= self.missing, "an array has the values of its shape");
        self.missing -= values.len();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.sink.write_all(&bytes)
    }

    pub(super) fn finish(self) {
        assert_eq!(self.missing, 0, "an array has the values of its shape");
    }
}

/// Signature, version and length of the header.
const PREFIX_BYTES: usize = 10;

/// Digits of the largest number of rows, as NumPy has it.
const ROWS_DIGITS: usize = 21;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_those_of_numpy() {
        // NumPy 2's, of `numpy.lib.format.write_array_header_1_0`. The last is longer by the room.
        let long = [1, 1_000_000_000, 1, 1_000_000_000, 1, 1, 1, 1, 1, 1, 1];
        for (shape, tuple, header_bytes) in [
            (&[360][..], "(360,)", 118),
            (&[360, 12], "(360, 12)", 118),
            (&[2, 3, 3], "(2, 3, 3)", 118),
            (&[1_234_567, 1000, 224, 224], "(1234567, 1000, 224, 224)", 118),
            (&long, "(1, 1000000000, 1, 1000000000, 1, 1, 1, 1, 1, 1, 1)", 182),
        ] {
            let mut file = Vec::new();
            Array::new(shape, &mut file).unwrap();
            let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {tuple}, }}");
            let expected = format!("{text:<width$}\n", width = header_bytes - 1);
            let begin = [b"\x93NUMPY\x01\x00".as_slice(), &[header_bytes as u8, 0]].concat();
            assert_eq!(file, [begin, expected.into_bytes()].concat(), "{shape:?}");
        }
    }
}
