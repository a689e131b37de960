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
        let lengths: String = shape.iter().map(|length| format!("{length}, ")).collect();
        let mut header =
            format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({lengths})}}");
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
