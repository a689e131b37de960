//! Many runs, shared by threads; each is a world of its own. On a terminal a bar shows how far
//! they are; elsewhere nothing does.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use cyxwiz_sim::{Figures, Plan, Scenario};
use indicatif::{ProgressBar, ProgressStyle};

use super::attempt::{Failure, attempt};

/// One run that is to be done.
#[derive(Debug)]
pub(super) struct Order<'a> {
    /// Which variant it belongs to.
    pub(super) variant: usize,
    pub(super) scenario: &'a Scenario,
    pub(super) seed: u64,
    pub(super) plan: Plan,
}

/// One run that is done. Of long series only figures are kept.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) variant: usize,
    pub(super) seed: u64,
    pub(super) figures: Option<Figures>,
    pub(super) took: Duration,
    pub(super) failure: Option<Failure>,
}

/// Does all of `orders`, by variant and seed in the result; after a failure none is begun, unless
/// `keep_going`.
pub(super) fn run(orders: &[Order<'_>], threads: usize, keep_going: bool) -> Vec<Done> {
    let bar = bar(orders.len());
    let (next, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    // A mutex, since every thread adds a line now and then, and nobody waits on a channel.
    let done = Mutex::new(Vec::new());
    let work = || {
        while !over.load(Ordering::Relaxed)
            && let Some(order) = orders.get(next.fetch_add(1, Ordering::Relaxed))
        {
            let attempt = attempt(order.scenario, order.seed, order.plan.clone(), None);
            if attempt.failure.is_some() && !keep_going {
                over.store(true, Ordering::Relaxed);
            }
            let line = Done {
                variant: order.variant,
                seed: attempt.seed,
                figures: attempt.seen.map(|seen| seen.figures),
                took: attempt.took,
                failure: attempt.failure,
            };
            done.lock().expect("a run's panic is caught within it").push(line);
            bar.inc(1);
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads.min(orders.len()) {
            scope.spawn(work);
        }
    });
    bar.finish_and_clear();
    let mut done = done.into_inner().expect("a run's panic is caught within it");
    done.sort_by_key(|done| (done.variant, done.seed));
    done
}

fn bar(length: usize) -> ProgressBar {
    let bar = ProgressBar::new(length as u64);
    let template = "{bar:40} {pos} of {len} runs, {per_sec}, {eta} left";
    bar.set_style(ProgressStyle::with_template(template).expect("a template of known keys"));
    bar
}

/// As many as there are cores, unless told otherwise.
pub(super) fn threads(wanted: Option<usize>) -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    wanted.unwrap_or(cores).clamp(1, 256)
}
