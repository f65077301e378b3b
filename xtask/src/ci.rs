//! Runs sections, and says how they ended.

use crate::Section;
use crate::tools::root;
use std::fs::File;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::time::Instant;

type Named = (&'static str, &'static str, Section);

/// Name, seconds, why it failed.
type Outcome = (&'static str, u64, Result<(), String>);

/// At once: a link, an emulator or a wait for a lock leaves cores idle, which the other one takes.
const LANES: usize = 2;

/// One after the other, here.
pub fn in_order(sections: &[&Named]) -> ExitCode {
    let run = |&&(name, what, section): &&Named| {
        println!("\n=== {name}: {what}");
        let start = Instant::now();
        let result = section();
        if let Err(reason) = &result {
            println!("=== {name} failed: {reason}");
        }
        (name, start.elapsed().as_secs(), result)
    };
    summary(&sections.iter().map(run).collect::<Vec<_>>())
}

/// The first one, then the others, each in a process of its own whose output is shown when it ends.
pub fn all(sections: &[Named]) -> ExitCode {
    let Some((first, rest)) = sections.split_first() else { return ExitCode::SUCCESS };
    let mut outcomes = vec![apart(first)];
    let (waiting, done) = (Mutex::new(rest.iter()), Mutex::new(Vec::new()));
    let lane = || {
        while let Some(section) = waiting.lock().ok().and_then(|mut waiting| waiting.next()) {
            let outcome = apart(section);
            if let Ok(mut done) = done.lock() {
                done.push(outcome);
            }
        }
    };
    std::thread::scope(|scope| (0..LANES).for_each(|_| drop(scope.spawn(lane))));
    outcomes.extend(done.into_inner().unwrap_or_default());
    if outcomes.len() < sections.len() {
        outcomes.push(("ci", 0, Err("a section was not run".to_owned())));
    }
    summary(&outcomes)
}

/// Runs a section by itself.
fn apart(&(name, ..): &Named) -> Outcome {
    println!("\n=== {name}: started");
    let start = Instant::now();
    let ended = logged(name);
    let seconds = start.elapsed().as_secs();
    let (text, result) = match ended {
        Ok((text, true)) => (text, Ok(())),
        Ok((text, false)) => (text, Err("see above".to_owned())),
        Err(reason) => (String::new(), Err(reason)),
    };
    println!("{text}\n=== {name}: ended after {seconds} s");
    (name, seconds, result)
}

/// What a section printed, and whether it passed.
fn logged(name: &str) -> Result<(String, bool), String> {
    let folder = root().join("target/ci");
    let log = folder.join(format!("{name}.log"));
    let fail = |e: std::io::Error| format!("{}: {e}", log.display());
    std::fs::create_dir_all(&folder).map_err(fail)?;
    let file = File::create(&log).map_err(fail)?;
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut command = Command::new(program);
    let status = command.arg(name).stdout(file.try_clone().map_err(fail)?).stderr(file).status().map_err(fail)?;
    let text = std::fs::read(&log).map_err(fail)?;
    Ok((String::from_utf8_lossy(&text).into_owned(), status.success()))
}

fn summary(outcomes: &[Outcome]) -> ExitCode {
    println!();
    for (name, seconds, result) in outcomes {
        let outcome = result.as_ref().map_or_else(|reason| format!("FAILED: {reason}"), |()| "passed".to_owned());
        println!("{name:<12} {seconds:>5} s  {outcome}");
    }
    let failed = outcomes.iter().filter(|outcome| outcome.2.is_err()).count();
    println!("{} passed, {failed} failed", outcomes.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
