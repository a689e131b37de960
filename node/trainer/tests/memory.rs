//! Memory that runs out in a step: an engine that refuses batches above a size, whose run must
//! end as that of an engine without such a limit, but for rounding.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::ops::Range;
use std::path::Path;

use cyxwiz_trainer::engine::arrays::{Arrays, Mask, Side};
use cyxwiz_trainer::engine::cpu::CpuTensor;
use cyxwiz_trainer::engine::images::{
    BatchNorm, Conv2d, ConvGradients, Images, NormGradients, Statistics, Window,
};
use cyxwiz_trainer::engine::{
    AdamStep, InputGradient, LinearGradients, LossFunction, LossGradient, Moments, RmsState,
    RmsStep, SgdStep, Target,
};
use cyxwiz_trainer::frames::{FailureClass, Progress, Summary};
use cyxwiz_trainer::{
    Activation, CpuEngine, Engine, EngineError, Event, Places, Requests, TrainError, Workload,
    load_model, train_at,
};

/// The CPU engine with room for so many rows in each of two operations.
struct Small {
    cpu: CpuEngine,
    forward_rows: usize,
    backward_rows: usize,
}

fn within(rows: usize, limit: usize) -> Result<(), EngineError> {
    if rows <= limit { Ok(()) } else { Err(EngineError::OutOfMemory { bytes: rows as u64 }) }
}

/// Operations that are those of the CPU engine.
macro_rules! passed_on {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {
        $(fn $name(&mut self, $($argument: $kind),*) -> Result<$result, EngineError> {
            self.cpu.$name($($argument),*)
        })*
    };
}

impl Arrays<CpuTensor> for Small {
    passed_on! {
        fn reshape(x: CpuTensor, shape: &[usize]) -> CpuTensor;
        fn permute(x: &CpuTensor, axes: &[usize]) -> CpuTensor;
        fn slice(x: &CpuTensor, axis: usize, range: Range<usize>) -> CpuTensor;
        fn concatenate(parts: &[&CpuTensor], axis: usize) -> CpuTensor;
        fn add(left: &CpuTensor, right: &CpuTensor) -> CpuTensor;
        fn subtract(left: &CpuTensor, right: &CpuTensor) -> CpuTensor;
        fn scale(x: &CpuTensor, factor: f32) -> CpuTensor;
        fn matmul(
            left: &CpuTensor, left_side: Side, right: &CpuTensor, right_side: Side
        ) -> CpuTensor;
        fn masked_softmax(scores: &CpuTensor, mask: Mask) -> CpuTensor;
        fn masked_softmax_backward(y: &CpuTensor, dy: &CpuTensor) -> CpuTensor;
        fn embed(table: &CpuTensor, ids: &CpuTensor) -> CpuTensor;
        fn embed_backward(ids: &CpuTensor, dy: &CpuTensor, vocabulary: usize) -> CpuTensor;
    }
}

impl Images<CpuTensor> for Small {
    passed_on! {
        fn conv2d(
            x: &CpuTensor, weight: &CpuTensor, bias: Option<&CpuTensor>, conv: &Conv2d
        ) -> CpuTensor;
        fn conv2d_backward(
            x: &CpuTensor, weight: &CpuTensor, dy: &CpuTensor, conv: &Conv2d, input: InputGradient
        ) -> ConvGradients<CpuTensor>;
        fn max_pool2d(x: &CpuTensor, window: &Window) -> CpuTensor;
        fn max_pool2d_backward(x: &CpuTensor, dy: &CpuTensor, window: &Window) -> CpuTensor;
        fn avg_pool2d(x: &CpuTensor, window: &Window) -> CpuTensor;
        fn avg_pool2d_backward(dy: &CpuTensor, input: &[usize], window: &Window) -> CpuTensor;
        fn batch_norm(
            x: &CpuTensor, weight: &CpuTensor, bias: &CpuTensor, epsilon: f64
        ) -> BatchNorm<CpuTensor>;
        fn batch_norm_by(
            x: &CpuTensor, weight: &CpuTensor, bias: &CpuTensor,
            statistics: Statistics<'_, CpuTensor>, epsilon: f64
        ) -> CpuTensor;
        fn batch_norm_backward(
            x: &CpuTensor, weight: &CpuTensor, statistics: Statistics<'_, CpuTensor>,
            dy: &CpuTensor, epsilon: f64
        ) -> NormGradients<CpuTensor>;
        fn layer_norm(
            x: &CpuTensor, weight: &CpuTensor, bias: &CpuTensor, epsilon: f64
        ) -> CpuTensor;
        fn layer_norm_backward(
            x: &CpuTensor, weight: &CpuTensor, dy: &CpuTensor, epsilon: f64
        ) -> NormGradients<CpuTensor>;
        fn blend(target: &mut CpuTensor, keep: f64, new: &CpuTensor, share: f64) -> ();
    }
}

impl Engine for Small {
    type Tensor = CpuTensor;
    type Ids = Vec<u32>;

    fn name(&self) -> String {
        self.cpu.name()
    }

    fn threads(&self) -> u32 {
        self.cpu.threads()
    }

    fn linear(
        &mut self,
        x: &CpuTensor,
        weight: &CpuTensor,
        bias: &CpuTensor,
    ) -> Result<CpuTensor, EngineError> {
        let y = self.cpu.linear(x, weight, bias)?;
        within(self.cpu.argmax_rows(&y)?.len(), self.forward_rows)?;
        Ok(y)
    }

    fn linear_backward(
        &mut self,
        x: &CpuTensor,
        weight: &CpuTensor,
        dy: &CpuTensor,
        input: InputGradient,
    ) -> Result<LinearGradients<CpuTensor>, EngineError> {
        within(self.cpu.argmax_rows(dy)?.len(), self.backward_rows)?;
        self.cpu.linear_backward(x, weight, dy, input)
    }

    fn loss(
        &mut self,
        function: &LossFunction<CpuTensor>,
        output: &CpuTensor,
        target: Target<'_, Self>,
        divisor: f64,
    ) -> Result<LossGradient<CpuTensor>, EngineError> {
        let target = match target {
            Target::Classes(ids) => Target::Classes(ids),
            Target::Values(values) => Target::Values(values),
        };
        self.cpu.loss(function, output, target, divisor)
    }

    passed_on! {
        fn upload(values: &[f32], shape: &[usize]) -> CpuTensor;
        fn upload_ids(ids: &[u32]) -> Vec<u32>;
        fn download(tensor: &CpuTensor) -> Vec<f32>;
        fn zeros(shape: &[usize]) -> CpuTensor;
        fn activate(function: Activation, x: &CpuTensor) -> CpuTensor;
        fn activate_backward(
            function: Activation, x: &CpuTensor, y: &CpuTensor, dy: &CpuTensor
        ) -> CpuTensor;
        fn multiply(left: &CpuTensor, right: &CpuTensor) -> CpuTensor;
        fn argmax_rows(tensor: &CpuTensor) -> Vec<u32>;
        fn sgd(
            parameter: &mut CpuTensor, gradient: &CpuTensor, velocity: Option<&mut CpuTensor>,
            step: &SgdStep
        ) -> ();
        fn adam(
            parameter: &mut CpuTensor, gradient: &CpuTensor, moments: Moments<'_, CpuTensor>,
            step: &AdamStep
        ) -> ();
        fn rmsprop(
            parameter: &mut CpuTensor, gradient: &CpuTensor, state: RmsState<'_, CpuTensor>,
            step: &RmsStep
        ) -> ();
        fn accumulate(sum: &mut CpuTensor, part: &CpuTensor) -> ();
        fn scale_in_place(tensor: &mut CpuTensor, factor: f64) -> ();
        fn clamp(tensor: &mut CpuTensor, limit: f64) -> ();
        fn sum_of_squares(tensor: &CpuTensor) -> f64;
    }
}

fn workload(on_out_of_memory: &str) -> Workload {
    with_layer(on_out_of_memory, r#"{"type": "dropout", "rate": 0.3}"#)
}

fn with_layer(on_out_of_memory: &str, layer: &str) -> Workload {
    let text = format!(
        r#"{{"model": {{"layers": [
                {{"type": "dense", "units": 12, "activation": "tanh"}},
                {layer},
                {{"type": "dense", "units": 2}}]}},
            "data": {{"source": "data.csv", "label": "kind", "test": {{"every": 4}}}},
            "training": {{"epochs": 5, "batch_size": 17, "seed": 3,
                "loss": {{"type": "softmax_cross_entropy", "class_weights": [1, 3],
                          "label_smoothing": 0.1}},
                "on_out_of_memory": "{on_out_of_memory}",
                "checkpoint_every_epochs": 2, "checkpoint_min_seconds": 0,
                "clip_norm": 0.5,
                "schedule": {{"type": "one_cycle"}},
                "optimizer": {{"type": "sgd", "learning_rate": 0.2, "momentum": 0.9}}}}}}"#
    );
    Workload::from_json(&text).unwrap()
}

struct Course {
    ended: Result<Summary, TrainError>,
    progress: Vec<Progress>,
    warnings: Vec<String>,
}

fn run<E: Engine>(workload: &Workload, engine: &mut E, dir: &Path) -> Course {
    run_from(workload, engine, dir, None)
}

/// Goes on from a checkpoint, if there is one.
fn run_from<E: Engine>(
    workload: &Workload,
    engine: &mut E,
    dir: &Path,
    from: Option<&Path>,
) -> Course {
    let mut table = "a,b,kind\n".to_owned();
    for n in 0..90 {
        let (angle, radius) = (f64::from(n) * 0.7, 1.0 + f64::from(n % 2));
        table += &format!("{},{},{}\n", radius * angle.cos(), radius * angle.sin(), n % 2);
    }
    fs::write(dir.join("data.csv"), table).unwrap();
    let (mut progress, mut warnings) = (Vec::new(), Vec::new());
    let mut observer = |event| match event {
        Event::Progress(one) if one.batch == one.batches => progress.push(one),
        Event::Warning(text) => warnings.push(text),
        Event::Reading(_) | Event::Started(_) | Event::Progress(_) | Event::Checkpoint(_) => {}
    };
    let requests = Requests::default();
    let (output, folder) = (dir.join("output"), dir.join("checkpoints"));
    let places = Places {
        inputs: dir,
        output: &output,
        checkpoints: Some(&folder),
        resume: from,
        disk: None,
    };
    let ended = train_at(&places, workload, engine, &mut observer, &requests);
    Course { ended, progress, warnings }
}

fn small(forward_rows: usize, backward_rows: usize) -> Small {
    Small { cpu: CpuEngine::new(1).unwrap(), forward_rows, backward_rows }
}

#[test]
fn halves_of_a_batch_end_where_the_whole_does() {
    let workload = workload("halve_batch");
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = run(&workload, &mut CpuEngine::new(1).unwrap(), whole.path());
    assert!(expected.warnings.is_empty());
    // 17 rows become 9, then 5, and what fails in the backward pass 3.
    let found = run(&workload, &mut small(6, 4), parts.path());
    assert_eq!(found.warnings.len(), 3, "{:?}", found.warnings);
    assert!(found.warnings[2].contains("3 rows at once"), "{}", found.warnings[2]);
    let (expected_end, found_end) = (expected.ended.unwrap(), found.ended.unwrap());
    assert_eq!(found_end.metrics["micro_batch"], 3.0);
    assert!(!expected_end.metrics.contains_key("micro_batch"));
    assert_eq!(found.progress.len(), 5);
    for (found, expected) in found.progress.iter().zip(&expected.progress) {
        assert_eq!(found.learning_rate, expected.learning_rate);
        assert_eq!(found.samples_processed, expected.samples_processed);
        for (name, value) in &expected.metrics {
            assert!((found.metrics[name] - value).abs() < 1e-4, "{name}: {:?}", found.metrics);
        }
    }
    let engine = &mut CpuEngine::new(1).unwrap();
    let mut outputs = |dir: &Path| {
        let model = load_model(&dir.join("output")).unwrap();
        model.predict(engine, &[0.5, 0.5, -1.0, 2.0, 0.0, 1.5]).unwrap()
    };
    for (found, expected) in outputs(parts.path()).iter().zip(outputs(whole.path())) {
        assert!((found - expected).abs() < 1e-4, "{found}, not {expected}");
    }
}

#[test]
fn a_job_that_does_not_allow_it_fails_and_so_does_one_row_too_many() {
    let dir = tempfile::tempdir().unwrap();
    for (choice, limit, warnings) in [("fail", 6, 0), ("halve_batch", 0, 5)] {
        let course = run(&workload(choice), &mut small(limit, 100), dir.path());
        let error = course.ended.unwrap_err();
        assert_eq!(error.class(), FailureClass::OutOfMemory, "{error}");
        assert_eq!(course.warnings.len(), warnings, "{:?}", course.warnings);
    }
}

/// The running means of a batch norm change in the forward pass: an attempt that fails behind it
/// leaves no trace in them.
#[test]
fn an_attempt_that_fails_leaves_no_trace() {
    let workload = with_layer("halve_batch", r#"{"type": "batch_norm"}"#);
    let outputs = [(9, 100), (100, 9)].map(|(forward_rows, backward_rows)| {
        let dir = tempfile::tempdir().unwrap();
        let course = run(&workload, &mut small(forward_rows, backward_rows), dir.path());
        assert_eq!(course.warnings.len(), 1, "{:?}", course.warnings);
        course.ended.unwrap().outputs
    });
    assert_eq!(outputs[0], outputs[1]);
}

/// A machine with more memory goes on as the one before it would have.
#[test]
fn a_checkpoint_carries_the_size_of_the_parts() {
    let workload = workload("halve_batch");
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let straight = run(&workload, &mut small(6, 4), first.path()).ended.unwrap();
    let from = first.path().join("checkpoints/checkpoint-0000002.safetensors");
    let engine = &mut CpuEngine::new(1).unwrap();
    let resumed = run_from(&workload, engine, second.path(), Some(&from));
    assert!(resumed.warnings.is_empty(), "{:?}", resumed.warnings);
    assert_eq!(resumed.ended.unwrap().outputs, straight.outputs);
}
