//! Tests of all topologies: how their scripts are run, that traffic gives the right results however
//! it is cut up, and that their documentation is true.

mod documentation;
mod naive;
mod replay;
pub(crate) mod script;
