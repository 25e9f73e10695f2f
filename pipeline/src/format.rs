//! What Millpond writes into records beside the user's bytes. **Formats.**

pub mod control;
pub mod dead_letter;
pub mod names;
pub mod origin;

/// The header of an [`origin::Origin`].
pub const ORIGIN_HEADER: &str = "mp.o";
/// The header that marks a [`control::Control`] record.
pub const CONTROL_HEADER: &str = "mp.c";
/// The header of the late topic that says why a record was left out.
pub const LATE_REASON_HEADER: &str = "mp.late";
/// The header of the late topic that says of how many of its windows a record was left out.
pub const LATE_WINDOWS_HEADER: &str = "mp.late.windows";
/// The header with the id that the sender gave an event.
pub const EVENT_ID_HEADER: &str = "mp.id";
