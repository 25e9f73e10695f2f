//! Delivery over real sockets, with every fault that a receiver can have, and kills of the sender.

#[cfg(test)]
mod commits;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod faulty_log;
#[cfg(test)]
mod security;
#[cfg(test)]
mod support;
