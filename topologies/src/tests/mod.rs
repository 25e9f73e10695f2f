//! Tests of all topologies: how their scripts are run, that traffic gives the same results however
//! it is cut up, and that their documentation is true.

mod documentation;
mod replay;
pub(crate) mod script;
