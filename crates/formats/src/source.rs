//! Where a model's tensors come from.

use crate::{Error, ErrorKind, SafetensorsFile, TensorView};
use alloc::boxed::Box;

/// Named tensors, in memory or in files; what a model is loaded from.
pub trait ModelSource {
    /// The tensor of that name.
    ///
    /// # Errors
    /// [`ErrorKind::MissingTensor`] when there is none.
    fn tensor(&self, name: &str) -> Result<TensorView<'_>, Error>;

    /// All names, in the order of the files.
    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_>;

    /// The tensor of that name, or `None` when there is none.
    ///
    /// # Errors
    /// When it is there but cannot be read.
    fn optional(&self, name: &str) -> Result<Option<TensorView<'_>>, Error> {
        match self.tensor(name) {
            Ok(tensor) => Ok(Some(tensor)),
            Err(error) if matches!(error.kind(), ErrorKind::MissingTensor { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl<S: ModelSource + ?Sized> ModelSource for &S {
    fn tensor(&self, name: &str) -> Result<TensorView<'_>, Error> {
        (**self).tensor(name)
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        (**self).names()
    }
}

impl ModelSource for SafetensorsFile<'_> {
    fn tensor(&self, name: &str) -> Result<TensorView<'_>, Error> {
        self.tensor(name)
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.names())
    }
}
