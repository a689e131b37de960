//! Runs a job file as a node would, and reads what it leaves.

use std::path::{Path, PathBuf};

use cyxwiz_trainer::frames::{Frame, Summary};
use cyxwiz_trainer::{RESUME_FILE, serve};

/// A run that has ended.
pub(crate) struct Served {
    pub(crate) frames: Vec<Frame>,
    folder: tempfile::TempDir,
}

/// Files by name, and what is in them.
pub(crate) type Files<'a> = &'a [(&'a str, &'a [u8])];

/// Runs `job`, which is TOML, on `files` with `threads` threads.
pub(crate) fn on_threads(job: &str, files: Files<'_>, threads: usize) -> Served {
    resumed(job, files, threads, None)
}

/// The same from a checkpoint.
pub(crate) fn resumed(
    job: &str,
    files: Files<'_>,
    threads: usize,
    resume: Option<&Path>,
) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let inputs = folder.path().join("inputs");
    std::fs::create_dir(&inputs).unwrap();
    let job: toml::Value = toml::from_str(job).unwrap();
    std::fs::write(folder.path().join("job.json"), serde_json::to_vec(&job).unwrap()).unwrap();
    for (name, bytes) in files {
        std::fs::write(inputs.join(name), bytes).unwrap();
    }
    if let Some(resume) = resume {
        std::fs::copy(resume, folder.path().join(RESUME_FILE)).unwrap();
    }
    let mut frames = Vec::new();
    serve(folder.path(), threads, Open, &mut frames);
    let lines = frames.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let frames = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    Served { frames, folder }
}

pub(crate) fn run(job: &str, files: Files<'_>) -> Served {
    on_threads(job, files, 1)
}

/// What a job that must fail says.
pub(crate) fn refused(job: &str, files: Files<'_>) -> String {
    match run(job, files).frames.pop() {
        Some(Frame::Failed(failure)) => failure.message,
        other => panic!("{job}\nended with {other:?}"),
    }
}

impl Served {
    pub(crate) fn summary(&self) -> &Summary {
        match self.frames.last() {
            Some(Frame::Finished(summary)) => summary,
            other => panic!("the last frame is {other:?}"),
        }
    }

    /// A file of the result.
    pub(crate) fn output(&self, name: &str) -> Vec<u8> {
        self.summary();
        std::fs::read(self.folder.path().join("output").join(name)).unwrap()
    }

    pub(crate) fn text(&self, name: &str) -> String {
        String::from_utf8(self.output(name)).unwrap()
    }

    pub(crate) fn checkpoints(&self) -> Vec<PathBuf> {
        self.summary();
        let folder = self.folder.path().join("checkpoints");
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }
}

/// Fields of a CSV text, without its header.
pub(crate) fn rows(text: &str) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let records = reader.records().map(|record| record.unwrap());
    records.map(|record| record.iter().map(str::to_owned).collect()).collect()
}

/// Shape and values of an NPY array of f32, as this crate writes them.
pub(crate) fn npy(bytes: &[u8]) -> (String, Vec<f32>) {
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!((end % 64, bytes[end - 1]), (0, b'\n'));
    let header = std::str::from_utf8(&bytes[10..end]).unwrap();
    assert!(header.contains("'descr': '<f4', 'fortran_order': False"), "{header}");
    let shape = header.split(['(', ')']).nth(1).unwrap().trim_end_matches(',').to_owned();
    (shape, floats(&bytes[end..]))
}

/// Shape and values of a tensor of a safetensors file.
pub(crate) fn tensor(bytes: &[u8], name: &str) -> (Vec<usize>, Vec<f32>) {
    let file = safetensors::SafeTensors::deserialize(bytes).unwrap();
    let view = file.tensor(name).unwrap();
    (view.shape().to_vec(), floats(view.data()))
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (chunks, rest) = bytes.as_chunks::<4>();
    assert!(rest.is_empty());
    chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// A control pipe that nobody writes to and nobody closes.
struct Open;

impl std::io::Read for Open {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        loop {
            std::thread::park();
        }
    }
}
