//! A part of a matrix that one thread writes, while others write others.

use std::marker::PhantomData;
use std::ops::Range;

/// Some rows and columns of a matrix in a slice, which nobody else touches.
pub(in super::super) struct Block<'a> {
    /// Of the whole matrix.
    values: *mut f32,
    /// From one row to the next.
    stride: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    borrowed: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is the one way to the values that it covers, as a `&mut [f32]` would be.
unsafe impl Send for Block<'_> {}

impl<'a> Block<'a> {
    /// A whole matrix, row after row.
    pub(in super::super) fn new(values: &'a mut [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns, "the result has the product's shape");
        let (values, borrowed) = (values.as_mut_ptr(), PhantomData);
        Self { values, stride: columns, rows: 0..rows, columns: 0..columns, borrowed }
    }

    /// Which rows of the whole matrix these are.
    pub(super) fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    /// Which columns of the whole matrix these are.
    pub(super) fn columns(&self) -> Range<usize> {
        self.columns.clone()
    }

    /// Blocks of `length` rows, and of what is left.
    pub(super) fn split_rows(self, length: usize) -> Vec<Self> {
        let part = |rows| Self { rows, columns: self.columns(), ..self };
        super::pieces(self.rows(), length).map(part).collect()
    }

    /// Blocks of `length` columns, and of what is left.
    pub(super) fn split_columns(self, length: usize) -> Vec<Self> {
        let part = |columns| Self { rows: self.rows(), columns, ..self };
        super::pieces(self.columns(), length).map(part).collect()
    }

    /// Some values of one row, both counted from where this block begins.
    #[inline(always)]
    pub(super) fn line(&mut self, row: usize, columns: Range<usize>) -> &mut [f32] {
        assert!(row < self.rows.len(), "rows end with the block");
        assert!(columns.start <= columns.end, "columns are in their order");
        assert!(columns.end <= self.columns.len(), "columns end with the block");
        let at = (self.rows.start + row) * self.stride + self.columns.start + columns.start;
        // SAFETY: within the block, so within the slice that it was made of; blocks of one slice
        // share no value, and the line is borrowed from this one.
        unsafe { std::slice::from_raw_parts_mut(self.values.add(at), columns.len()) }
    }
}
