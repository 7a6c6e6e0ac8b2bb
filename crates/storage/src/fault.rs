//! Deliberate faults for the fault harness: development builds can die at a named point, or break a guarantee so that
//! the harness must detect it. Release builds contain none of this.
//!
//! `HOOKWRIGHT_FAILPOINT=name[:n]` ends the process, as SIGKILL would, when it reaches the point for the nth time.
//! `HOOKWRIGHT_PLANT=name` plants a bug. `HOOKWRIGHT_CLOCK_FILE=path` and `HOOKWRIGHT_DATABASE_CLOCK_FILE=path` name
//! files that hold an offset in microseconds: the first shifts this process's wall clock, the second shifts the
//! database's clock in every statement of this process. The process reads the files repeatedly.

use std::{
    path::PathBuf,
    sync::{
        LazyLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

struct Failpoint {
    name: String,
    left: AtomicU64,
}

static FAILPOINT: LazyLock<Option<Failpoint>> = LazyLock::new(|| {
    let text = std::env::var("HOOKWRIGHT_FAILPOINT").ok()?;
    let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
    Some(Failpoint {
        name: name.to_owned(),
        left: AtomicU64::new(count.parse().unwrap_or(1)),
    })
});

static PLANT: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("HOOKWRIGHT_PLANT").ok());

/// A point at which the process can be made to die.
pub fn point(name: &str) {
    if !cfg!(debug_assertions) {
        return;
    }
    if let Some(failpoint) = &*FAILPOINT
        && failpoint.name == name
        && failpoint.left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        // Skips destructors and buffers: everything that is not durable is lost.
        std::process::abort();
    }
}

/// How often the file of a planted clock is read, in microseconds.
const CLOCK_READ_US: i64 = 10_000;

/// A clock with a planted offset.
struct PlantedClock {
    file: LazyLock<Option<PathBuf>>,
    read_at: AtomicI64,
    shift: AtomicI64,
}

static WALL_CLOCK: PlantedClock = PlantedClock {
    file: LazyLock::new(|| std::env::var_os("HOOKWRIGHT_CLOCK_FILE").map(PathBuf::from)),
    read_at: AtomicI64::new(0),
    shift: AtomicI64::new(0),
};

static DATABASE_CLOCK: PlantedClock = PlantedClock {
    file: LazyLock::new(|| std::env::var_os("HOOKWRIGHT_DATABASE_CLOCK_FILE").map(PathBuf::from)),
    read_at: AtomicI64::new(0),
    shift: AtomicI64::new(0),
};

impl PlantedClock {
    fn shift_us(&self, boot_us: fn() -> i64) -> i64 {
        let Some(file) = &*self.file else { return 0 };
        let now = boot_us();
        if now - self.read_at.load(Ordering::Acquire) >= CLOCK_READ_US {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            if let Ok(shift) = text.trim().parse() {
                self.shift.store(shift, Ordering::Release);
            }
            self.read_at.store(now, Ordering::Release);
        }
        self.shift.load(Ordering::Acquire)
    }
}

/// The planted offset of the wall clock, read from its file at most every few milliseconds of the boot clock.
pub(crate) fn wall_clock_shift_us(boot_us: fn() -> i64) -> i64 {
    if cfg!(debug_assertions) {
        WALL_CLOCK.shift_us(boot_us)
    } else {
        0
    }
}

/// The planted offset of the database's clock.
pub(crate) fn database_clock_shift_us(boot_us: fn() -> i64) -> i64 {
    if cfg!(debug_assertions) {
        DATABASE_CLOCK.shift_us(boot_us)
    } else {
        0
    }
}

/// Whether a bug is planted.
pub fn is_planted(name: &str) -> bool {
    cfg!(debug_assertions) && PLANT.as_deref() == Some(name)
}

/// A point at which a task can be made to panic.
pub fn panic_if_planted(name: &str) {
    assert!(!is_planted(name), "a panic was planted: {name}");
}

/// A point at which a blocking thread can be made to take long.
#[expect(clippy::disallowed_methods, reason = "a planted fault, on a blocking thread")]
pub fn sleep_if_planted(name: &str, how_long: std::time::Duration) {
    if is_planted(name) {
        std::thread::sleep(how_long);
    }
}
