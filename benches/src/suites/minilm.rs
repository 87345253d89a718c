//! all-MiniLM-L6-v2 as a whole, beside the engines of `benches/peers/minilm.py`, on one thread or several; then ours on one
//! beside.

use core::cell::RefCell;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};

use kernform_formats::ModelFolder;
use kernform_model::{EncoderLimits, EncoderModel, EncoderPlan, EncoderSession, PackedInputs, WeightType};
use kernform_simd::Isa;
use kernform_tensor::parallel::RayonPool;
use kernform_tensor::{Memory, Parallel, Serial};

use crate::Settings;
use crate::alternate::{Contestant, alternate_after};
use crate::machine;
use crate::peer::{self, Python};
use crate::report::{Ratio, Row, Table};

/// Batches by tokens, all of full length.
const FULL: [(usize, usize); 4] = [(1, 16), (1, 128), (8, 128), (1, 512)];
/// Sizes of the batches into which engines that pad cut the mixed one, sorted by length; the best of each counts.
const PADDED: [usize; 2] = [8, 32];
/// Rounds with the whole mixed batch padded to its longest sentence, which takes the others seconds.
const PADDED_ROUNDS: usize = 3;
const FLOAT: [&str; 4] = ["openvino", "onnxruntime", "pytorch", "ctranslate2"];
const INT8: [&str; 1] = ["ctranslate2-int8"];
/// Ours on one thread, where the others have more.
const ALONE: &str = "one thread";

/// Sequences one after the other.
struct Batch {
    ids: Vec<u32>,
    lengths: Vec<usize>,
}

impl Batch {
    /// The ids that `minilm.py` makes.
    fn full(batch: usize, tokens: usize) -> Self {
        let ids = (0..batch * tokens).map(|i| (i * 7919 % 20000 + 1000) as u32).collect();
        Self { ids, lengths: vec![tokens; batch] }
    }

    /// 200 sentences with the lengths of English prose: 5 to 90 tokens, 25 on average.
    fn mixed() -> Self {
        let mut seed = 1_u64;
        let mut number = move |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let lengths: Vec<usize> =
            (0..200).map(|i| 5 + (if i % 8 == 0 { number(86) } else { number(21) + number(16) }) as usize).collect();
        let ids = (0..lengths.iter().sum()).map(|_| (number(20000) + 1000) as u32).collect();
        Self { ids, lengths }
    }

    fn sequences(&self) -> Vec<&[u32]> {
        let mut rest = self.ids.as_slice();
        let cut = |len: &usize| {
            let (first, others) = rest.split_at(*len);
            rest = others;
            first
        };
        self.lengths.iter().map(cut).collect()
    }
}

/// A model with a place to work.
struct Ours<'m> {
    session: EncoderSession<'m>,
}

impl<'m> Ours<'m> {
    fn new<P: Parallel>(
        model: &'m EncoderModel,
        parts: &[Batch],
        buffer: &'m mut Memory,
        parallel: &P,
    ) -> Result<Self, String> {
        let text = |error: kernform_model::ModelError| error.to_string();
        let tokens = parts.iter().map(|part| part.ids.len()).max().unwrap_or(1);
        let limits = EncoderLimits { sequences: 256, tokens };
        let plan = EncoderPlan::new(model, limits, parallel).map_err(text)?;
        *buffer = Memory::zeroed(plan.scratch_len() * size_of::<f32>()).ok_or("no memory for activations")?;
        Ok(Self { session: EncoderSession::new(model, &plan, buffer.as_mut_slice()).map_err(text)? })
    }

    fn run<P: Parallel>(&mut self, batch: &Batch, parallel: &P) {
        let inputs = PackedInputs { input_ids: &batch.ids, token_type_ids: None, lengths: &batch.lengths };
        self.session.run(parallel, &inputs).expect("the batch fits");
    }
}

/// A run of all parts: as `kernform embed` does it, each thread takes one after the other on its own, or all of them compute
/// one together where there are fewer. Several threads are those of a pool, each on a core of its own.
fn contestant<'m>(
    name: &str,
    model: &'m EncoderModel,
    parts: &'m [Batch],
    buffers: &'m mut [Memory],
) -> Result<Contestant<'m>, String> {
    let threads = buffers.len();
    if let [buffer] = buffers {
        let mut ours = Ours::new(model, parts, buffer, &Serial)?;
        return Ok(Contestant::new(name, move || parts.iter().for_each(|part| ours.run(part, &Serial))));
    }
    // All of a run is on threads of the pool, so that nobody outside is woken within it.
    let pool = machine::pool(threads)?;
    if parts.len() < threads {
        let buffer = buffers.first_mut().ok_or("no thread")?;
        let mut ours = pool.install(|| Ours::new(model, parts, buffer, &RayonPool::global()))?;
        return Ok(Contestant::new(name, move || {
            pool.install(|| parts.iter().for_each(|part| ours.run(part, &RayonPool::global())));
        }));
    }
    let each = buffers.iter_mut().map(|buffer| Ours::new(model, parts, buffer, &Serial));
    let mut each = each.collect::<Result<Vec<_>, _>>()?;
    Ok(Contestant::new(name, move || {
        let next = AtomicUsize::new(0);
        let work = |ours: &mut Ours<'_>| {
            while let Some(part) = parts.get(next.fetch_add(1, Relaxed)) {
                ours.run(part, &Serial);
            }
        };
        pool.install(|| RayonPool::global().for_each(&mut each, |_, ours| work(ours)));
    }))
}

pub(crate) fn run(settings: &Settings) -> Vec<Table> {
    match tables(settings) {
        Ok(tables) => tables,
        Err(why) => {
            peer::missing("minilm", why);
            Vec::new()
        }
    }
}

fn tables(settings: &Settings) -> Result<Vec<Table>, String> {
    let cache = cache();
    let folder = cache.join("models/minilm");
    let open = || ModelFolder::open(&folder).map_err(|error| format!("{error}; tools/fetch-models minilm gets it"));
    let folder_of_peers = cache.join("minilm");
    let mixed = Batch::mixed();
    write_mixed(&folder_of_peers, &mixed)?;
    let model = |kind| {
        let folder = open()?;
        EncoderModel::load_as(&folder, folder.config(), Isa::best(), kind).map_err(|error| error.to_string())
    };
    let models = [WeightType::F32, WeightType::Int8].map(model);
    let [f32_model, int8_model] = models;
    let (f32_model, int8_model) = (f32_model?, int8_model?);
    let threads = settings.threads.to_string();
    let arguments = [folder.display().to_string(), folder_of_peers.display().to_string(), threads];
    let python = Python::start_with("minilm.py", &arguments).map(RefCell::new);
    if let Err(error) = &python {
        peer::missing("the engines of minilm.py", error);
    }
    let python = python.ok();

    let mut tables = Vec::new();
    for (title, ours, model, peers) in [
        ("MiniLM in f32", "kernform", &f32_model, &FLOAT[..]),
        ("MiniLM in int8", "kernform int8", &int8_model, &INT8[..]),
    ] {
        let mut rows = Vec::new();
        for (batch, tokens) in FULL {
            let case = format!("{batch} x {tokens}");
            if case.contains(&settings.case) {
                let request = format!("{batch} {tokens}");
                let batch = Batch::full(batch, tokens);
                rows.push(row(settings, 15, case, ours, model, &batch, peers, &[request], python.as_ref())?);
            }
        }
        let in_one = format!("mixed {}", mixed.lengths.len());
        for (case, rounds, requests) in [
            ("200 mixed, theirs sorted", 15, &PADDED.map(|size| format!("mixed {size}"))[..]),
            ("200 mixed, theirs in one batch", PADDED_ROUNDS, &[in_one][..]),
        ] {
            if case.contains(&settings.case) {
                let case = case.to_owned();
                rows.push(row(settings, rounds, case, ours, model, &mixed, peers, requests, python.as_ref())?);
            }
        }
        let peers = peers.iter().map(|name| (*name).to_owned()).collect();
        let mut ratios = vec![Ratio { title: "best peer / ours", ours: ours.to_owned(), peers }];
        if settings.threads > 1 {
            ratios.push(Ratio { title: "one thread / ours", ours: ours.to_owned(), peers: vec![ALONE.to_owned()] });
        }
        let table = Table { title: title.to_owned(), unit: "Gop/s", ratios, limit: None, rows };
        table.print();
        tables.push(table);
    }
    Ok(tables)
}

fn row(
    settings: &Settings,
    most_rounds: usize,
    case: String,
    name: &str,
    model: &EncoderModel,
    batch: &Batch,
    peers: &[&str],
    requests: &[String],
    python: Option<&RefCell<Python>>,
) -> Result<Row, String> {
    // As `kernform embed` cuts its input: so many tokens at a time.
    let parts = parts(batch, 512);
    let (mut buffers, mut buffer) = (vec![Memory::default(); settings.threads], [Memory::default()]);
    let mut contestants = vec![contestant(name, model, &parts, &mut buffers)?];
    let mut pause = Duration::ZERO;
    if settings.threads > 1 {
        contestants.push(contestant(ALONE, model, &parts, &mut buffer)?);
        // OpenMP's threads wait for 200 ms.
        pause = Duration::from_millis(250);
    }
    for peer in peers {
        let Some(python) = python else { continue };
        let mut best: Option<(f64, String)> = None;
        for request in requests {
            let request = format!("{peer} {request}");
            // The first run allocates.
            let time = || python.borrow_mut().time(&request, 1);
            match time().and_then(|_| time()) {
                Ok(seconds) if best.as_ref().is_none_or(|(least, _)| seconds < *least) => {
                    best = Some((seconds, request));
                }
                Ok(_) => {}
                Err(why) => peer::missing(peer, why),
            }
        }
        if let Some((_, request)) = best {
            let time = move |repeats| python.borrow_mut().time(&request, repeats).unwrap_or(f64::INFINITY);
            contestants.push(Contestant::timing(*peer, time));
        }
    }
    let timings = alternate_after(pause, &mut contestants, settings.rounds.min(most_rounds));
    Ok(Row { case, work: operations(model, batch), timings })
}

/// Sequences in parts of at most so many tokens.
fn parts(batch: &Batch, most: usize) -> Vec<Batch> {
    let mut parts: Vec<Batch> = Vec::new();
    for sequence in batch.sequences() {
        match parts.last_mut() {
            Some(part) if part.ids.len() + sequence.len() <= most => {
                part.ids.extend_from_slice(sequence);
                part.lengths.push(sequence.len());
            }
            _ => parts.push(Batch { ids: sequence.to_vec(), lengths: vec![sequence.len()] }),
        }
    }
    parts
}

/// Multiplications and additions of the products and the attention, without padding.
fn operations(model: &EncoderModel, batch: &Batch) -> f64 {
    let config = model.config();
    let (width, inner) = (config.width as f64, config.feed_forward as f64);
    let of_sequence = |len: &usize| {
        let len = *len as f64;
        len * (4.0 * width * width + 2.0 * width * inner) + 2.0 * len * len * width
    };
    2.0 * config.layers as f64 * batch.lengths.iter().map(of_sequence).sum::<f64>()
}

fn write_mixed(folder: &Path, mixed: &Batch) -> Result<(), String> {
    let text = serde_json::to_string(&mixed.sequences()).map_err(|error| error.to_string())?;
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(folder.join("mixed.json"), text))
        .map_err(|error| format!("{}: {error}", folder.display()))
}

/// Where `tools/fetch-models` puts models.
fn cache() -> PathBuf {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let own = || {
        let cache = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
        cache.unwrap_or_default().join("kernform")
    };
    variable("KERNFORM_CACHE").unwrap_or_else(own)
}
