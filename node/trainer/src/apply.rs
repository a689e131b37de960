//! Uses a trained model on rows: measures it, says what it predicts, or gives what a layer makes
//! of them. Rows pass in blocks whose results go to the disk at once. A run that is interrupted
//! begins again: there is nothing to go on from.

mod course;
mod npy;
mod parquet;
mod predictions;
mod table;

use std::collections::BTreeMap;
use std::io;

use crate::data::Window;
use crate::definition::{Application, EvaluateSpec, TableFormat, Task};
use crate::engine::{Engine, EngineError};
use crate::frames::{OutputFile, Started, Summary};
use crate::layers::Network;
use crate::output;
use crate::plan::Applied;
use crate::train::{
    Criterion, Event, PassError, Places, Requests, TrainError, Watch, gather, read, score_watched,
    tell_of_disk, write_scores,
};
use course::Course;
use predictions::{Features, Meaning, Predictions};
use table::Table;

/// Does the work of `job` and leaves its result in the folder of the output.
///
/// # Errors
/// As [`crate::train_at`]; no file is left half written.
pub(crate) fn apply<E: Engine>(
    places: &Places<'_>,
    job: &Application,
    engine: &mut E,
    observer: &mut dyn FnMut(Event),
    requests: &Requests,
) -> Result<Summary, TrainError> {
    let applied =
        read(places, observer, requests, |reading| Applied::new(job, places.inputs, reading))?;
    observer(Event::Started(Started {
        parameters: applied.plan.parameters,
        train_rows: 0,
        validation_rows: 0,
        test_rows: applied.plan.rows,
        epochs: 1,
        batches_per_epoch: applied.plan.batches_per_epoch,
        resumed_epochs: 0,
        resumed_batches: 0,
        streamed: applied.plan.streamed,
    }));
    tell_of_disk(applied.data.features.on_disk(), &job.data, observer);
    let network = Network::new(engine, &applied.chain, &applied.values)?;
    let mut course = Course::new(&applied, observer, requests);
    let mut work = Work { places, applied: &applied, network: &network };
    let (metrics, file) = match &job.task {
        Task::Evaluate(spec) => work.evaluate(engine, spec, &mut course)?,
        Task::Infer(spec) => {
            let meaning = Predictions::new(&applied.file);
            (rows_alone(&applied), work.write(engine, &meaning, spec.format, &mut course)?)
        }
        Task::Extract(spec) => {
            let meaning = Features { count: applied.plan.outputs as usize };
            (rows_alone(&applied), work.write(engine, &meaning, spec.format, &mut course)?)
        }
    };
    Ok(Summary {
        metrics,
        outputs: vec![file],
        compute_ms: course.elapsed_ms(),
        engine: engine.name(),
        threads: engine.threads(),
        parameters: applied.plan.parameters,
    })
}

/// What there is to say of results that are not measured.
fn rows_alone(applied: &Applied) -> BTreeMap<String, f64> {
    BTreeMap::from([("rows".to_owned(), applied.plan.rows as f64)])
}

/// A model on an engine, and what it is used on.
struct Work<'a, T> {
    places: &'a Places<'a>,
    applied: &'a Applied,
    network: &'a Network<T>,
}

impl<T: Clone + std::fmt::Debug> Work<'_, T> {
    /// Scores all rows.
    fn evaluate<E: Engine<Tensor = T>>(
        &mut self,
        engine: &mut E,
        spec: &EvaluateSpec,
        course: &mut Course<'_>,
    ) -> Result<(BTreeMap<String, f64>, OutputFile), TrainError> {
        let Applied { file, chain, data, batch, .. } = self.applied;
        let names = file.outputs.names();
        let criterion =
            Criterion::new(engine, &file.loss, &data.targets, chain.output(), spec.top_k)?;
        let rows: Vec<u32> = (0..data.rows as u32).collect();
        let watch = Watch { at_once: *batch, passed: &mut |done| course.passed(done) };
        let tally = score_watched(engine, self.network, data, &rows, &criterion, true, watch)?;
        if !tally.is_finite() {
            return Err(TrainError::NotFinite { place: "some rows".to_owned() });
        }
        let mut metrics = BTreeMap::new();
        // As training calls what it tells of rows that it has not learnt from.
        tally.write("test_", &mut metrics);
        metrics.insert("test_rows".to_owned(), data.rows as f64);
        let file = write_scores(self.places.output, names, &metrics, &tally)?;
        Ok((metrics, file))
    }

    /// Writes what the model gives for each row.
    fn write<E: Engine<Tensor = T>>(
        &mut self,
        engine: &mut E,
        meaning: &dyn Meaning,
        format: TableFormat,
        course: &mut Course<'_>,
    ) -> Result<OutputFile, TrainError> {
        let name = meaning.file_name(format);
        let fault = |fault: io::Error| TrainError::Output { file: name, fault };
        std::fs::create_dir_all(self.places.output).map_err(fault)?;
        let Applied { data, .. } = self.applied;
        let written = output::write_stream(self.places.output, name, |sink| {
            let columns = meaning.columns(!data.ids.is_empty());
            let mut table = Table::new(format, &columns, meaning.shape(data.rows), sink)?;
            let mut names = data.ids.read().map_err(TrainError::from)?;
            self.blocks(engine, course, |first, rows, mut values| match &mut table {
                Table::Npy(array) => {
                    meaning.numbers(&mut values);
                    Ok(array.write(&values)?)
                }
                Table::Csv(_) | Table::Parquet(_) => {
                    let ids = names.take(rows).map_err(TrainError::from)?;
                    Ok(table.write(meaning.cells(first, &ids, values))?)
                }
            })?;
            Ok::<(), Fault>(table.finish()?)
        });
        written.map_err(|error| match error {
            Fault::Disk(error) => fault(error),
            Fault::Work(error) => error,
        })
    }

    /// Calls `take` with the first row, the number of rows and the outputs of each block, in
    /// order. Where memory runs out, blocks become smaller: each row by itself gives the same.
    fn blocks<E: Engine<Tensor = T>>(
        &self,
        engine: &mut E,
        course: &mut Course<'_>,
        mut take: impl FnMut(usize, usize, Vec<f32>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let Applied { data, batch, .. } = self.applied;
        let (mut first, mut at_once) = (0, *batch);
        while first < data.rows {
            let rows = at_once.min(data.rows - first);
            let block: Vec<u32> = (first as u32..(first + rows) as u32).collect();
            let values = match self.outputs(engine, &block) {
                Ok(values) => values,
                Err(PassError::Engine(EngineError::OutOfMemory { .. })) if rows > 1 => {
                    at_once = rows.div_ceil(2);
                    continue;
                }
                Err(error) => return Err(Fault::Work(error.into())),
            };
            let width = values.len() / rows;
            if let Some(place) = values.iter().position(|value| !value.is_finite()) {
                let row = first + place / width;
                return Err(Fault::Work(TrainError::NotFinite { place: format!("row {row}") }));
            }
            take(first, rows, values)?;
            first += rows;
            course.passed(first)?;
        }
        Ok(())
    }

    fn outputs<E: Engine<Tensor = T>>(
        &self,
        engine: &mut E,
        rows: &[u32],
    ) -> Result<Vec<f32>, PassError> {
        let data = &self.applied.data;
        let x = gather(engine, data, rows, &Window::default())?;
        let y = self.network.predict(engine, x, rows.len())?;
        Ok(engine.download(&y)?)
    }
}

/// Why a result could not be written to its end.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Disk(#[from] io::Error),
    #[error(transparent)]
    Work(#[from] TrainError),
}
