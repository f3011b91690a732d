//! JSON as it stands on the wire: looked at, never printed again.
//!
//! A tolerant scanner over one line ([`scan`]), the strings in it ([`text`]), and the replacement of some of them
//! ([`splice()`]). Nothing here fails for what somebody sends: a line that is not understood has nothing to translate.

pub mod scan;
pub mod splice;
pub mod text;

pub use scan::{Kind, LONG, Level, Plain, Scanner, Token};
pub use splice::{Splice, splice};
