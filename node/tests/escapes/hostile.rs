//! What the test's program does when the executor starts it as a trainer: greets like one, reads
//! from its job what to try, and tries it.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::attacks::ATTACKS;
use crate::floods::FLOODS;
use crate::target::Target;

pub(crate) fn train(directory: &Path) {
    let version = cyxwiz_trainer::frames::FRAMES_VERSION;
    say(&format!(r#"{{"frame":"hello","version":{version},"engine":"hostile","threads":1}}"#));
    let job = fs::read_to_string(directory.join("job.json")).expect("the job is there");
    let target: Target = serde_json::from_str(&job).expect("the test wrote it");
    say(concat!(
        r#"{"frame":"started","parameters":1,"train_rows":1,"validation_rows":0,"test_rows":0,"#,
        r#""epochs":1,"batches_per_epoch":1}"#
    ));
    if let Some((_, flood)) = FLOODS.iter().find(|(name, _)| *name == target.attempt) {
        flood(&target);
    }
    if target.attempt == BY_THE_LOADER {
        // Comes back only where not even the loader starts.
        eprintln!("{:?}", crate::attacks::start_by_the_loader(&target));
        std::process::exit(1);
    }
    let attack = ATTACKS.iter().find(|(name, _)| *name == target.attempt);
    let (_, attack) = attack.expect("the test names one that there is");
    let message = match attack(&target) {
        Ok(how) => format!("{ESCAPED}: {how}"),
        Err(error) => format!("{HELD}: {error}"),
    };
    let message = serde_json::Value::from(message);
    say(&format!(r#"{{"frame":"failed","class":"internal","message":{message}}}"#));
}

pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Whoever does not listen will hear nothing.
    writeln!(out, "{line}").and_then(|()| out.flush()).ok();
}

pub(crate) const BY_THE_LOADER: &str = "start_a_program_by_the_loader";
pub(crate) const ESCAPED: &str = "escaped";
pub(crate) const HELD: &str = "held";
