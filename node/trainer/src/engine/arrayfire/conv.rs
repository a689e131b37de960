//! Convolution as matrix products: the points that each output sees are gathered into columns, for
//! as many rows at once as a bound on memory allows. Between the products pictures are
//! `[width, height, rows, channels]`, so that all points of all rows are the length of one matrix.

use arrayfire::{MatProp, join_many, reorder_v2};

use super::values::{Values, add, matmul, part, shaped, stretch, sum, whole};
use super::windows::Views;
use crate::engine::InputGradient;
use crate::engine::images::{ConvGradients, ConvSizes};

/// Values of gathered columns at once.
const GATHERED: usize = 32 << 20;

pub(super) struct Conv {
    sizes: ConvSizes,
    views: Views,
}

impl Conv {
    pub(super) fn new(sizes: ConvSizes) -> Self {
        let views = Views::new(sizes.window, sizes.input, sizes.output);
        Self { sizes, views }
    }

    pub(super) fn forward(&self, x: &Values, weight: &Values, bias: Option<&Values>) -> Values {
        let parts: Vec<Values> = self
            .pieces()
            .map(|(first, rows)| {
                let x = self.padded_rows(x, first, rows);
                let groups: Vec<Values> = (0..self.sizes.groups)
                    .map(|group| {
                        let columns = self.columns(&x, group, rows);
                        matmul(&columns, &self.weights(weight, group), MatProp::NONE, MatProp::NONE)
                    })
                    .collect();
                let y = join_many(1, groups.iter().collect());
                let y = match bias {
                    None => y,
                    Some(bias) => add(&y, &shaped(bias, [1, self.outputs(), 1, 1])),
                };
                let [h, w] = self.sizes.output;
                let y = swapped(&shaped(&y, [w, h, rows, self.outputs()]));
                y.eval();
                y
            })
            .collect();
        join_many(3, parts.iter().collect())
    }

    pub(super) fn backward(
        &self,
        x: &Values,
        weight: &Values,
        dy: &Values,
        input: InputGradient,
    ) -> ConvGradients<Values> {
        let sizes = &self.sizes;
        let (mut slopes, mut found) = (Vec::new(), None::<Values>);
        for (first, rows) in self.pieces() {
            let x = self.padded_rows(x, first, rows);
            let dy = swapped(&rows_of(dy, first, rows));
            let dy = shaped(&dy, [sizes.points() * rows, self.outputs(), 1, 1]);
            dy.eval();
            let (mut weights, mut inputs) = (Vec::new(), Vec::new());
            for group in 0..sizes.groups {
                let own = stretch(group * sizes.outputs, sizes.outputs, 1);
                let dy = part(&dy, &[whole(), own]);
                let columns = self.columns(&x, group, rows);
                weights.push(matmul(&columns, &dy, MatProp::TRANS, MatProp::NONE));
                if input == InputGradient::Wanted {
                    let weight = self.weights(weight, group);
                    let columns = matmul(&dy, &weight, MatProp::NONE, MatProp::TRANS);
                    inputs.push(self.spread(&columns, rows));
                }
            }
            let weights = join_many(1, weights.iter().collect());
            found = Some(found.map_or(weights.clone(), |found| add(&found, &weights)));
            found.iter().for_each(Values::eval);
            if input == InputGradient::Wanted {
                let dx = swapped(&join_many(3, inputs.iter().collect()));
                dx.eval();
                slopes.push(dx);
            }
        }
        let weight = found.expect("there is a row");
        let dy = shaped(dy, [sizes.points(), self.outputs(), sizes.rows, 1]);
        ConvGradients {
            input: (!slopes.is_empty()).then(|| join_many(3, slopes.iter().collect())),
            weight: self.channels_first(&weight),
            bias: sum(&sum(&dy, 0), 2),
        }
    }

    fn outputs(&self) -> usize {
        self.sizes.groups * self.sizes.outputs
    }

    /// First row and number of rows of each piece of work.
    fn pieces(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (rows, each) = (self.sizes.rows, self.sizes.points() * self.sizes.seen());
        let at_once = (GATHERED / each.max(1)).clamp(1, rows);
        (0..rows).step_by(at_once).map(move |first| (first, at_once.min(rows - first)))
    }

    /// `[width, height, rows, channels]` of so many rows, with what is around the pictures.
    fn padded_rows(&self, x: &Values, first: usize, rows: usize) -> Values {
        let x = self.views.with_zeros(&swapped(&rows_of(x, first, rows)));
        x.eval();
        x
    }

    /// `[points of all rows, window points and channels]`, the channels of a point side by side.
    fn columns(&self, x: &Values, group: usize, rows: usize) -> Values {
        let channels = self.sizes.channels;
        let own = stretch(group * channels, channels, 1);
        let x = match self.sizes.groups {
            1 => x.clone(),
            _ => part(x, &[whole(), whole(), whole(), own]).copy(),
        };
        let views: Vec<Values> = self.views.of(&x).collect();
        let columns = join_many(3, views.iter().collect());
        shaped(&columns, [self.sizes.points() * rows, self.sizes.seen(), 1, 1])
    }

    /// The pictures that the columns' slopes are of, for one group.
    fn spread(&self, columns: &Values, rows: usize) -> Values {
        let ConvSizes { channels, output: [h, w], .. } = self.sizes;
        let columns = shaped(columns, [w, h, rows, self.sizes.seen()]);
        let slopes = (0..self.views.points()).map(|point| {
            part(&columns, &[whole(), whole(), whole(), stretch(point * channels, channels, 1)])
        });
        self.views.cropped(self.views.gathered([rows, channels], slopes))
    }

    /// `[window points and channels, outputs]` of a group, in the order of the columns.
    fn weights(&self, weight: &Values, group: usize) -> Values {
        let ConvSizes { channels, outputs, .. } = self.sizes;
        let weight = shaped(weight, [self.views.points(), channels, self.outputs(), 1]);
        let own = stretch(group * outputs, outputs, 1);
        let turned = reorder_v2(&part(&weight, &[whole(), whole(), own]), 1, 0, None);
        shaped(&turned, [self.sizes.seen(), outputs, 1, 1])
    }

    /// The way back from the order of the columns to that of the weights.
    fn channels_first(&self, found: &Values) -> Values {
        let lengths = [self.sizes.channels, self.views.points(), self.outputs(), 1];
        reorder_v2(&shaped(found, lengths), 1, 0, None)
    }
}

fn rows_of(x: &Values, first: usize, rows: usize) -> Values {
    if x.dims()[3] == rows as u64 {
        return x.clone();
    }
    part(x, &[whole(), whole(), whole(), stretch(first, rows, 1)])
}

/// Rows and channels change places; a copy only where both are many.
fn swapped(x: &Values) -> Values {
    let [w, h, third, fourth] = x.dims().get().map(|length| length as usize);
    match third == 1 || fourth == 1 {
        true => shaped(x, [w, h, fourth, third]),
        false => reorder_v2(x, 0, 1, Some(vec![3, 2])),
    }
}
