//! Panics of the topology's closures: caught, and told apart from ours.
//!
//! While a record is handled, a panic is not printed: it is remembered with its place, and becomes
//! a bad record. Everything else goes to the hook that was there before.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

/// A panic that was caught.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Panicked {
    /// What it said.
    pub(super) text: String,
    /// Where it was raised, as `src/orders.rs:12:5`; behind it the backtrace, if one was asked for.
    pub(super) place: String,
}

/// Backtraces of a thread since its start: each takes a millisecond, and the hundredth says little
/// that is new.
const BACKTRACES_MAX: u32 = 100;

thread_local! {
    static BACKTRACES: Cell<u32> = const { Cell::new(0) };
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static CAUGHT: RefCell<Option<Panicked>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// Runs `run`; a panic in it is answered, not printed.
pub(super) fn catch<T>(run: impl FnOnce() -> T) -> Result<T, Panicked> {
    HOOK.call_once(install);
    let outer = CATCHING.replace(true);
    // Whatever is half-done is taken back or dropped by the caller.
    let ended = panic::catch_unwind(AssertUnwindSafe(run));
    CATCHING.set(outer);
    ended.map_err(|payload| {
        let noted = CAUGHT.with(RefCell::take);
        // Somebody may have put a hook of their own in front of ours.
        noted.unwrap_or_else(|| Panicked { text: text_of(&*payload), place: String::new() })
    })
}

/// Puts our hook in front of the one that is there.
fn install() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if CATCHING.get() {
            CAUGHT.with(|caught| *caught.borrow_mut() = Some(note(info)));
        } else {
            before(info);
        }
    }));
}

fn note(info: &PanicHookInfo<'_>) -> Panicked {
    let mut place = info.location().map(ToString::to_string).unwrap_or_default();
    let taken = BACKTRACES.get();
    if taken < BACKTRACES_MAX {
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            BACKTRACES.set(taken + 1);
            place = format!("{place}\n{backtrace}");
        }
    }
    Panicked { text: text_of(info.payload()), place }
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a text").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_caught_with_text_and_place() {
        assert_eq!(catch(|| 7), Ok(7));
        let number = 3;
        let Err(caught) = catch(|| assert!(number == 4, "{number} is not four")) else {
            panic!("nothing was caught");
        };
        assert_eq!(caught.text, "3 is not four");
        assert!(caught.place.contains("caught.rs:"), "{}", caught.place);
        let odd = catch(|| -> () { panic::panic_any(17_u8) }).unwrap_err();
        assert_eq!(odd.text, "a panic without a text");
    }

    #[test]
    fn outside_of_a_record_the_hook_before_is_asked() {
        assert_eq!(catch(|| 1), Ok(1));
        assert!(!CATCHING.get());
        let plain = std::thread::spawn(|| catch(|| 2)).join().unwrap();
        assert_eq!(plain, Ok(2));
    }
}
