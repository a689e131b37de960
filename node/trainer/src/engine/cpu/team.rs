//! Threads that share out pieces of work and end them together, and no more than that: a training
//! step is dozens of such rounds of some ten microseconds each, between which a thread that has
//! to be woken by the system would sleep away what it could add. A waiting thread therefore looks
//! for the next round for a while before it sleeps.
//!
//! Pieces are taken in no order; work that depends on none, and writes to places of its own, gives
//! the same values on any number of threads.

use std::fmt::{self, Debug, Formatter};
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a thread looks before it sleeps; to be woken takes about as long.
const PATIENCE: Duration = Duration::from_micros(100);

/// The caller's thread, and others that wait for it to share its work.
pub(super) struct Team {
    shared: Arc<Shared>,
    others: Vec<JoinHandle<()>>,
}

impl Team {
    /// Starts one thread less than `threads`.
    pub(super) fn start(threads: usize) -> std::io::Result<Self> {
        let mut team = Self { shared: Arc::default(), others: Vec::new() };
        for index in 1..threads {
            let shared = Arc::clone(&team.shared);
            let named = std::thread::Builder::new().name(format!("train-{index}"));
            // Where the system refuses one, those that were started end with the team.
            team.others.push(named.spawn(move || shared.serve())?);
        }
        Ok(team)
    }

    /// Threads that work at the same time, the caller's among them.
    pub(super) fn size(&self) -> usize {
        self.others.len() + 1
    }

    /// Does `work` with each of `items`, and returns when all is done.
    pub(super) fn share<T: Send>(
        &self,
        items: impl ExactSizeIterator<Item = T>,
        work: impl Fn(T) + Sync,
    ) {
        if self.others.is_empty() || items.len() < 2 || self.shared.busy.swap(true, SeqCst) {
            return items.for_each(work);
        }
        let free = Free(&self.shared.busy);
        let items: Vec<Mutex<Option<T>>> = items.map(|item| Mutex::new(Some(item))).collect();
        let piece = |index: usize| {
            let mut place = items[index].lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(item) = place.take() {
                drop(place);
                work(item);
            }
        };
        self.shared.round(items.len(), &piece);
        drop(free);
    }

    /// As [`Self::share`]; gives one of the errors if there are any.
    pub(super) fn try_share<T: Send, E: Send>(
        &self,
        items: impl ExactSizeIterator<Item = T>,
        work: impl Fn(T) -> Result<(), E> + Sync,
    ) -> Result<(), E> {
        let failed = Mutex::new(None);
        self.share(items, |item| {
            if let Err(error) = work(item) {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        });
        failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }
}

impl Debug for Team {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Team").field("size", &self.size()).finish()
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.over.store(true, SeqCst);
        self.shared.wake(&self.shared.begun);
        for thread in self.others.drain(..) {
            // It ends by itself, and what it worked on told of its panic.
            drop(thread.join());
        }
    }
}

/// Makes a team free for the next round, also where a piece panicked.
struct Free<'a>(&'a AtomicBool);

impl Drop for Free<'_> {
    fn drop(&mut self) {
        self.0.store(false, SeqCst);
    }
}

/// What a round does with each piece, by its index.
type Work<'a> = dyn Fn(usize) + Sync + 'a;

/// What all threads of a team see.
///
/// Whoever takes a piece holds up the end of the round until it is done, and only then looks at
/// what is to be done with it: nobody waits for a thread that came too late, or that the system has
/// given no time to come.
#[derive(Default)]
struct Shared {
    /// Pieces that nobody has taken yet.
    left: AtomicUsize,
    /// Pieces of this round, and of these the ones that are done.
    pieces: AtomicUsize,
    done: AtomicUsize,
    /// Where the caller's thread keeps its reference to the [`Work`] of this round.
    work: AtomicPtr<()>,
    panicked: AtomicBool,
    /// Whether there is a round; one that is begun within a round happens on its thread.
    busy: AtomicBool,
    over: AtomicBool,
    /// Threads that sleep, or are about to and have not looked again. The mutex and the two
    /// conditions are for these alone.
    asleep: AtomicUsize,
    sleep: Mutex<()>,
    begun: Condvar,
    ended: Condvar,
}

impl Shared {
    fn sleep(&self) -> MutexGuard<'_, ()> {
        self.sleep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work` with every index below `pieces`, together with whoever takes some. One round at
    /// a time: `busy` is set.
    fn round(&self, pieces: usize, work: &Work<'_>) {
        self.panicked.store(false, SeqCst);
        self.done.store(0, SeqCst);
        self.pieces.store(pieces, SeqCst);
        self.work.store((&raw const work).cast_mut().cast(), SeqCst);
        self.left.store(pieces, SeqCst);
        self.wake(&self.begun);
        self.take_part();
        self.wait(&self.ended, || self.done.load(SeqCst) == pieces);
        assert!(!self.panicked.load(SeqCst), "no piece of work panics");
    }

    /// Does pieces while there are some.
    fn take_part(&self) {
        let take = |left: usize| left.checked_sub(1);
        while let Ok(left) = self.left.fetch_update(SeqCst, SeqCst, take) {
            // SAFETY: written before the pieces were there to be taken. The reference, and what it
            // refers to, stay as they are while `round` waits for this piece.
            let work = unsafe { *self.work.load(SeqCst).cast::<&Work<'_>>() };
            if catch_unwind(AssertUnwindSafe(|| work(left - 1))).is_err() {
                self.panicked.store(true, SeqCst);
            }
            let pieces = self.pieces.load(SeqCst);
            if self.done.fetch_add(1, SeqCst) + 1 == pieces {
                self.wake(&self.ended);
            }
        }
    }

    /// Takes part in round after round.
    fn serve(&self) {
        let over = || self.over.load(SeqCst);
        while !over() {
            self.wait(&self.begun, || self.left.load(SeqCst) > 0 || over());
            self.take_part();
        }
    }

    /// Until `holds`: looks, and after a while sleeps until `condition` is notified. Who makes it
    /// hold wakes the sleepers afterwards.
    fn wait(&self, condition: &Condvar, holds: impl Fn() -> bool) {
        /// Looks between two at the clock.
        const LOOKS: usize = 32;
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            for _ in 0..LOOKS {
                if holds() {
                    return;
                }
                spin_loop();
            }
        }
        self.asleep.fetch_add(1, SeqCst);
        let mut guard = self.sleep();
        while !holds() {
            guard = condition.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        drop(guard);
        self.asleep.fetch_sub(1, SeqCst);
    }

    fn wake(&self, condition: &Condvar) {
        if self.asleep.load(SeqCst) > 0 {
            // Whoever looked before the change sleeps by the time the mutex is free.
            drop(self.sleep());
            condition.notify_all();
        }
    }
}

#[cfg(test)]
mod tests;
