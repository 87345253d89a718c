//! What can go wrong with a model's folder or a translation.

use core::fmt;

use kernform_model::ModelError;
use kernform_text::TextError;

/// Why a folder cannot be used, or a text cannot be translated.
#[derive(Debug)]
#[non_exhaustive]
pub enum TranslateError {
    /// The folder has no model of a family that can translate.
    Folder {
        /// The folder.
        folder: String,
        /// What is missing.
        missing: String,
    },
    /// A file cannot be read.
    Format(kernform_formats::Error),
    /// The vocabulary cannot be used.
    Vocabulary {
        /// Its file.
        file: String,
        /// Why.
        source: TextError,
    },
    /// The files are not of one model.
    Mismatch {
        /// What does not fit.
        problem: String,
    },
    /// The model cannot be loaded or run.
    Model(ModelError),
    /// The ids of a translation are no text.
    Text(TextError),
}

impl fmt::Display for TranslateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { folder, missing } => write!(
                f,
                "{folder}: no model that can translate: {missing} is missing; the families are Marian students \
                 (model*.bin, vocab*.spm, lex*.bin)"
            ),
            Self::Format(error) => error.fmt(f),
            Self::Vocabulary { file, source } => write!(f, "{file}: {source}"),
            Self::Mismatch { problem } => f.write_str(problem),
            Self::Model(error) => error.fmt(f),
            Self::Text(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for TranslateError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Format(error) => Some(error),
            Self::Vocabulary { source, .. } => Some(source),
            Self::Model(error) => Some(error),
            Self::Text(error) => Some(error),
            Self::Folder { .. } | Self::Mismatch { .. } => None,
        }
    }
}

impl From<kernform_formats::Error> for TranslateError {
    fn from(error: kernform_formats::Error) -> Self {
        Self::Format(error)
    }
}

impl From<ModelError> for TranslateError {
    fn from(error: ModelError) -> Self {
        Self::Model(error)
    }
}

impl From<TextError> for TranslateError {
    fn from(error: TextError) -> Self {
        Self::Text(error)
    }
}
