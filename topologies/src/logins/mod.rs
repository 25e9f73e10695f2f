//! Failed sshd logins, counted per host and source address.

pub mod attempt;
