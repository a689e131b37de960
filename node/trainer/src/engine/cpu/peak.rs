//! What the processor could do at most, against which the speed of training can be held.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use super::vectors::{Kernel, LANES, Level, Vector};

/// Additions and multiplications of 32-bit floats a second of `threads` threads together that
/// multiply and add in registers and do nothing else, by the widest instructions that the engine
/// has for this processor. Takes some ten milliseconds.
pub fn peak_flops(threads: usize) -> f64 {
    /// Some milliseconds of the slowest processors.
    const ROUNDS: u64 = 200_000;
    let threads = threads.max(1);
    let start = Barrier::new(threads);
    let alone = |_| {
        start.wait();
        let began = Instant::now();
        let mut sums = 0;
        Level::of_processor().run(MultiplyAdd { rounds: ROUNDS, sums: &mut sums });
        let flops = 2.0 * (sums * LANES as u64 * ROUNDS) as f64;
        flops / began.elapsed().as_secs_f64()
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|it| scope.spawn(move || alone(it))).collect();
        running.into_iter().map(|it| it.join().expect("nothing in it panics")).sum()
    })
}

/// Fused or not, as products of matrices are.
struct MultiplyAdd<'a> {
    rounds: u64,
    /// Told how many there are side by side.
    sums: &'a mut u64,
}

impl Kernel for MultiplyAdd<'_> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        *self.sums = if V::MANY { work::<V, 12>(self.rounds) } else { work::<V, 5>(self.rounds) };
    }
}

/// `N` sums that do not wait for each other, as many as registers hold beside the operands.
#[inline(always)]
fn work<V: Vector, const N: usize>(rounds: u64) -> u64 {
    let (factor, addend) = (V::splat(black_box(0.999)), V::splat(black_box(0.001)));
    let mut sums = [V::zero(); N];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = sum.times_plus(factor, addend);
        }
    }
    for sum in sums {
        let mut values = [0.0; LANES];
        sum.store(&mut values);
        black_box(values);
    }
    N as u64
}
