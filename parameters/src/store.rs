//! Where a value is kept, whatever the type of the field.

/// Where a value is kept. An `Option` may hold none: then the parameter is left out.
pub trait Store<T> {
    /// The value, if there is one.
    fn get(&self) -> Option<T>;

    /// Puts a value there that is in the parameter's range.
    fn set(&mut self, value: T);
}

impl<T: Clone> Store<T> for T {
    fn get(&self) -> Option<T> {
        Some(self.clone())
    }

    fn set(&mut self, value: T) {
        *self = value;
    }
}

impl<T: Clone> Store<T> for Option<T> {
    fn get(&self) -> Option<T> {
        self.clone()
    }

    fn set(&mut self, value: T) {
        *self = Some(value);
    }
}

macro_rules! store_whole {
    ($($type:ty),*) => {$(
        /// Bounds are within the type's own.
        impl Store<u64> for $type {
            fn get(&self) -> Option<u64> {
                Some(*self as u64)
            }

            fn set(&mut self, value: u64) {
                *self = value as $type;
            }
        }

        impl Store<u64> for Option<$type> {
            fn get(&self) -> Option<u64> {
                self.map(|value| value as u64)
            }

            fn set(&mut self, value: u64) {
                *self = Some(value as $type);
            }
        }
    )*};
}

store_whole!(u32, usize);

/// Bounds are within the type's own.
impl Store<[u64; 2]> for [usize; 2] {
    fn get(&self) -> Option<[u64; 2]> {
        Some(self.map(|value| value as u64))
    }

    fn set(&mut self, value: [u64; 2]) {
        *self = value.map(|value| value as usize);
    }
}

impl Store<[u64; 2]> for Option<[usize; 2]> {
    fn get(&self) -> Option<[u64; 2]> {
        self.map(|both| both.map(|value| value as u64))
    }

    fn set(&mut self, value: [u64; 2]) {
        *self = Some(value.map(|value| value as usize));
    }
}
