//! Where a layer is in a description, of which layers may be inside others. Knows no layers.

use std::fmt;

/// Where a description has a layer: the place among its layers, then the place inside that one, and so on. In words the
/// places have dots between: `0.1` is the second layer inside the first.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LayerPlace(pub(crate) Vec<usize>);

impl LayerPlace {
    /// The layer at this place inside it.
    pub(crate) fn inside(&self, at: usize) -> LayerPlace {
        LayerPlace(self.0.iter().copied().chain([at]).collect())
    }

    /// In how many others it is.
    pub fn depth(&self) -> usize {
        self.0.len().saturating_sub(1)
    }
}

impl fmt::Display for LayerPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<String> = self.0.iter().map(usize::to_string).collect();
        f.write_str(&places.join("."))
    }
}
