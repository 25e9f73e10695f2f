//! What Millpond writes into records beside the user's bytes. **Formats.**

pub mod control;
pub mod names;
pub mod origin;

/// The header of an [`origin::Origin`].
pub const ORIGIN_HEADER: &str = "mp.o";
/// The header that marks a [`control::Control`] record.
pub const CONTROL_HEADER: &str = "mp.c";
/// The header with the id that the sender gave an event.
pub const EVENT_ID_HEADER: &str = "mp.id";
