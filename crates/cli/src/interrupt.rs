//! Ctrl-C: finish the line that is being written, then exit with 130.

use core::time::Duration;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use crate::errors::EXIT_INTERRUPTED;

/// Held while whole lines go to stdout.
static WRITING: Mutex<()> = Mutex::new(());

/// How long a line may take to be finished; a reader that stopped reading would take for ever.
const PATIENCE: Duration = Duration::from_millis(500);

/// While the guard lives Ctrl-C waits.
pub(crate) fn hold() -> MutexGuard<'static, ()> {
    WRITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes Ctrl-C end the program between two lines.
pub(crate) fn install() {
    let installed = ctrlc::set_handler(|| {
        let start = Instant::now();
        loop {
            match WRITING.try_lock() {
                Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                // The guard stays held to the end, so that no new line begins.
                _guard => std::process::exit(EXIT_INTERRUPTED),
            }
        }
    });
    // Without a handler the system's own stops the program: the same, but for a line cut short.
    drop(installed);
}
