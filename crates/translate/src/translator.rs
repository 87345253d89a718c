//! A model with its vocabulary and shortlist.

use std::path::Path;

use kernform_formats::{LexicalShortlist, Loading, MarianFile, ModelBytes};
use kernform_model::{MarianStudent, StudentWeights};
use kernform_simd::Isa;
use kernform_text::SentencePiece;

use crate::folder::Folder;
use crate::{TranslateError, Translation, Worker};

/// How to load and to search.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The arithmetic.
    pub weights: StudentWeights,
    /// The level that the kernels run on.
    pub isa: Isa,
    /// Whether the lexical shortlist is used, where the folder has one.
    pub shortlist: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { weights: StudentWeights::default(), isa: Isa::best(), shortlist: true }
    }
}

/// A model that translates. It is not changed by that: threads share one, each with a [`Worker`] of its own.
pub struct Translator {
    pub(crate) model: MarianStudent,
    pub(crate) vocabulary: SentencePiece,
    pub(crate) shortlist: Option<LexicalShortlist<ModelBytes>>,
    pub(crate) end: u32,
    /// Most target tokens for each source token.
    pub(crate) length_factor: f64,
}

impl Translator {
    /// Opens a model's folder.
    ///
    /// # Errors
    /// [`TranslateError`] that says which file is missing or wrong, and why.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, TranslateError> {
        Self::open_with(folder, Options::default())
    }

    /// [`Translator::open`] with options.
    ///
    /// # Errors
    /// As [`Translator::open`].
    pub fn open_with(folder: impl AsRef<Path>, options: Options) -> Result<Self, TranslateError> {
        let folder = Folder::open(folder.as_ref())?;
        let name = folder.vocabulary.to_string_lossy().into_owned();
        let vocabulary = ModelBytes::open(&folder.vocabulary, Loading::Read)?;
        let vocabulary = SentencePiece::parse(vocabulary.as_ref())
            .map_err(|source| TranslateError::Vocabulary { file: name.clone(), source })?;
        let model = {
            // The file's pages are given back before anything else is read.
            let file = MarianFile::open(&folder.model, Loading::Map)?;
            MarianStudent::load(&file, options.weights, options.isa)?
        };
        let shortlist = match &folder.shortlist {
            Some(path) if options.shortlist => Some(LexicalShortlist::open(path, Loading::Map)?),
            _ => None,
        };
        let size = model.config().vocab_size;
        if vocabulary.len() != size {
            let problem = format!("{name} has {} pieces, the model has rows for {size}", vocabulary.len());
            return Err(TranslateError::Mismatch { problem });
        }
        if let Some(list) = shortlist.as_ref().filter(|list| list.targets() as usize > size) {
            let problem = format!("the shortlist has word {}, the model has rows for {size}", list.targets() - 1);
            return Err(TranslateError::Mismatch { problem });
        }
        let end = vocabulary
            .end()
            .ok_or_else(|| TranslateError::Mismatch { problem: format!("{name} has no piece that ends a sentence") })?;
        // Marian's own default is 3.
        let factor = folder.settings.number("max-length-factor").unwrap_or(3.0_f64);
        let length_factor = if factor.is_finite() { factor.clamp(1.0, 4.0) } else { 3.0 };
        Ok(Self { model, vocabulary, shortlist, end, length_factor })
    }

    /// The model.
    pub fn model(&self) -> &MarianStudent {
        &self.model
    }

    /// The vocabulary of source and target.
    pub fn vocabulary(&self) -> &SentencePiece {
        &self.vocabulary
    }

    /// The translation of a text, by greedy search.
    ///
    /// # Errors
    /// [`TranslateError`] where there is no memory for it.
    pub fn translate(&self, text: &str) -> Result<String, TranslateError> {
        let mut translations = self.translate_all(&[text])?;
        Ok(translations.pop().map(|translation| translation.text()).unwrap_or_default())
    }

    /// The translations of several texts, computed together; the same as one by one.
    ///
    /// # Errors
    /// As [`Translator::translate`].
    pub fn translate_all(&self, texts: &[&str]) -> Result<Vec<Translation>, TranslateError> {
        let mut translations: Vec<Option<Translation>> = texts.iter().map(|_| None).collect();
        let mut worker = Worker::new(self, texts.len().clamp(1, 32), 1, 1)?;
        worker.run(texts.iter().copied(), |number, translation| {
            if let Some(place) = translations.get_mut(number) {
                *place = Some(translation);
            }
            Ok::<(), TranslateError>(())
        })?;
        Ok(translations.into_iter().flatten().collect())
    }
}
