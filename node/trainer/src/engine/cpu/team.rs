//! Threads that share out pieces of work and end them together, and no more than that: a training
//! step is dozens of such rounds of some ten microseconds each, between which a thread that has
//! to be woken by the system would sleep away what it could add. A waiting thread therefore looks
//! for the next round for a while before it sleeps.
//!
//! Pieces are taken in no order; work that depends on none, and writes to places of its own, gives
//! the same values on any number of threads.

use std::cell::UnsafeCell;
use std::fmt::{self, Debug, Formatter};
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
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
        drop(self.shared.sleep());
        self.shared.begun.notify_all();
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

/// The round that is open, or what was the last.
struct Round {
    work: *const Work<'static>,
    pieces: usize,
}

/// What all threads of a team see.
///
/// `door` is the number of the round in its upper half, and below it twice the number of threads
/// that are in, plus one while others may still come in. A round is written while nobody is in and
/// nobody can come in, and read by those who are in.
struct Shared {
    door: AtomicU64,
    round: UnsafeCell<Round>,
    /// Pieces that were taken.
    taken: AtomicUsize,
    panicked: AtomicBool,
    /// Whether there is a round; one that is begun within a round happens on its thread.
    busy: AtomicBool,
    over: AtomicBool,
    /// Threads that sleep, or are about to and have not looked again. The mutex and the two
    /// conditions are for these alone.
    asleep: AtomicUsize,
    sleep: Mutex<()>,
    begun: Condvar,
    left: Condvar,
}

// SAFETY: `round` is read and written as `door` allows, which is the one thing that is not safe to
// share by itself; the work that it points to is `Sync`.
unsafe impl Sync for Shared {}
// SAFETY: as above; whoever drops it touches nothing behind the pointer.
unsafe impl Send for Shared {}

const OPEN: u64 = 1;
const ONE: u64 = 2;
const ROUND: u64 = 1 << 32;

impl Default for Shared {
    fn default() -> Self {
        fn nothing(_: usize) {}
        let work: &'static Work<'static> = &nothing;
        Self {
            door: AtomicU64::new(0),
            round: UnsafeCell::new(Round { work, pieces: 0 }),
            taken: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            over: AtomicBool::new(false),
            asleep: AtomicUsize::new(0),
            sleep: Mutex::new(()),
            begun: Condvar::new(),
            left: Condvar::new(),
        }
    }
}

impl Shared {
    fn sleep(&self) -> MutexGuard<'_, ()> {
        self.sleep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work` with every index below `pieces`, together with who comes in. One round at a
    /// time: `busy` is set.
    fn round(&self, pieces: usize, work: &Work<'_>) {
        // SAFETY: lengthens the borrow for those who come in; this function does not end, by a
        // panic neither, before they have left and nobody can come in.
        let work = unsafe { std::mem::transmute::<&Work<'_>, &'static Work<'static>>(work) };
        // SAFETY: the door has been closed since the last round, and nobody is in.
        unsafe { *self.round.get() = Round { work, pieces } };
        self.taken.store(0, Relaxed);
        self.panicked.store(false, Relaxed);
        let number = self.door.load(Relaxed) & !(ROUND - 1);
        self.door.store(number.wrapping_add(ROUND) | OPEN, SeqCst);
        if self.asleep.load(SeqCst) > 0 {
            drop(self.sleep());
            self.begun.notify_all();
        }
        self.take_part(work, pieces);
        self.door.fetch_and(!OPEN, SeqCst);
        self.wait(&self.left, || self.door.load(SeqCst) & (ROUND - 1) == 0);
        assert!(!self.panicked.load(SeqCst), "no piece of work panics");
    }

    fn take_part(&self, work: &Work<'_>, pieces: usize) {
        let take = || {
            while let Some(piece) = Some(self.taken.fetch_add(1, Relaxed)).filter(|it| *it < pieces)
            {
                work(piece);
            }
        };
        if catch_unwind(AssertUnwindSafe(take)).is_err() {
            self.panicked.store(true, SeqCst);
        }
    }

    /// Takes part in round after round.
    fn serve(&self) {
        let mut last = 0;
        loop {
            let is_new = |door: u64| door & OPEN != 0 && door / ROUND != last;
            let over = || self.over.load(SeqCst);
            self.wait(&self.begun, || is_new(self.door.load(SeqCst)) || over());
            if over() {
                return;
            }
            let come_in = |door: u64| is_new(door).then_some(door + ONE);
            let Ok(door) = self.door.fetch_update(SeqCst, SeqCst, come_in) else { continue };
            last = door / ROUND;
            // SAFETY: this thread is in: the round stays as it is until it has left, and so does
            // what it points to.
            let (work, pieces) = unsafe {
                let round = &*self.round.get();
                (&*round.work, round.pieces)
            };
            self.take_part(work, pieces);
            let before = self.door.fetch_sub(ONE, SeqCst);
            if before & (ROUND - 1) == ONE && self.asleep.load(SeqCst) > 0 {
                drop(self.sleep());
                self.left.notify_all();
            }
        }
    }

    /// Until `holds`: looks, and after a while sleeps until `condition` is notified. Who makes it
    /// hold must look at `asleep` afterwards.
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
}

#[cfg(test)]
mod tests;
