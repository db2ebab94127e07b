//! Which numbers a parameter takes.

/// A range of numbers, with its words.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// In words, after "wanted".
    pub wanted: &'static str,
    fits: fn(f64) -> bool,
}

impl Range {
    /// Any number.
    pub const ANY: Range = Range::new("a number", |_| true);

    /// 0 and above.
    pub const AT_LEAST_0: Range = Range::new("a number of at least 0", |number| number >= 0.0);

    /// Above 0.
    pub const ABOVE_0: Range = Range::new("a number above 0", |number| number > 0.0);

    /// From 0 to 1.
    pub const SHARE: Range =
        Range::new("a share from 0 to 1", |number| (0.0..=1.0).contains(&number));

    /// 0 and above, as a 32-bit float: as are all that training computes with.
    pub const AT_LEAST_0_F32: Range =
        Range::new("a number of at least 0, as a 32-bit float", |number| {
            number >= 0.0 && (number as f32).is_finite()
        });

    /// Above 0, also after rounding to a 32-bit float.
    pub const ABOVE_0_F32: Range = Range::new("a number above 0, as a 32-bit float", |number| {
        number as f32 > 0.0 && (number as f32).is_finite()
    });

    /// From 0 to below 1, also after rounding to a 32-bit float.
    pub const BELOW_1_F32: Range =
        Range::new("a number from 0 to below 1, as a 32-bit float", |number| {
            number >= 0.0 && (number as f32) < 1.0
        });

    /// The finite numbers for which `fits` holds.
    pub const fn new(wanted: &'static str, fits: fn(f64) -> bool) -> Range {
        Range { wanted, fits }
    }

    /// The words without those on precision.
    pub fn plain(&self) -> &'static str {
        self.wanted.split(',').next().unwrap_or(self.wanted)
    }

    /// Whether a number is in it.
    pub fn fits(&self, number: f64) -> bool {
        number.is_finite() && (self.fits)(number)
    }
}
