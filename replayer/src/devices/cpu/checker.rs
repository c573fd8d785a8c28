// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tells people what mistakes kernels make, and counts them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use parking_lot::Mutex;
use vcuda_ptx::{Checks, Fault, Finding, Findings, Mistake};

use super::options::OptionError;

/// Places that are told of, at most; others are only counted.
const LIMIT: usize = 100;

/// Looks for mistakes in the kernels of a session: accesses outside of allocations, which are
/// errors anyhow, and what [`Checks`] names.
///
/// The first mistake at each place (instruction, and the other instruction of a race) is told on
/// standard error when it is made; [`Checker::summary`] says how many there were.
#[derive(Debug)]
pub struct Checker {
    checks: Checks,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The how manyth each place was, and how many threads made the mistake.
    places: HashMap<Key, (usize, u64)>,
    /// Places that people were told of.
    told: usize,
    faults: u64,
    uninitialized: u64,
    races: u64,
}

/// Kernel, line of the instruction, line of the other one of a race.
type Key = (String, u32, Option<u32>);

/// `VCUDA_CHECK`
const VARIABLE: &str = "VCUDA_CHECK";

impl Checker {
    /// What `VCUDA_CHECK` asks for: a list of `memory`, `init` and `race`, or `all`. Accesses
    /// outside of allocations (`memory`) are always looked for.
    pub fn from_env() -> Result<Option<Checker>, OptionError> {
        std::env::var(VARIABLE)
            .ok()
            .map(|list| Checker::from_list(&list))
            .transpose()
    }

    fn from_list(list: &str) -> Result<Checker, OptionError> {
        let mut checks = Checks::default();
        for word in list.split(',') {
            match word.trim() {
                "memory" => {}
                "init" => checks.uninitialized = true,
                "race" => checks.races = true,
                "all" => {
                    checks = Checks {
                        uninitialized: true,
                        races: true,
                    }
                }
                _ => {
                    return Err(OptionError::new(
                        VARIABLE,
                        list,
                        "a list of memory, init and race, or all",
                    ));
                }
            }
        }
        Ok(Checker {
            checks,
            state: Mutex::default(),
        })
    }

    pub(super) fn checks(&self) -> Checks {
        self.checks
    }

    /// A kernel failed, and people were told.
    pub(super) fn fault(&self, fault: &Fault) {
        if !matches!(fault, Fault::Aborted { .. }) {
            self.state.lock().faults += 1;
        }
    }

    /// How many mistakes were found.
    pub fn count(&self) -> u64 {
        let state = self.state.lock();
        state.faults + state.uninitialized + state.races
    }

    /// All in a few lines, once the session is over.
    pub fn summary(&self) {
        let state = self.state.lock();
        let mut places: Vec<_> = state.places.iter().collect();
        places.sort_unstable_by_key(|(_, told)| *told);
        for ((kernel, line, other), (told, threads)) in places {
            if *told < LIMIT && *threads > 1 {
                let other = other.map_or(String::new(), |line| format!(" with line {line}"));
                vcuda_transport::say!(
                    "check: {threads} threads in all at PTX line {line}{other} of kernel {kernel}."
                );
            }
        }
        let more = state.places.len() - state.told;
        if more > 0 {
            vcuda_transport::say!("check: {more} more places were not told of.");
        }
        vcuda_transport::say!("check: {}", state.totals(self.checks));
    }
}

impl State {
    fn totals(&self, checks: Checks) -> String {
        let mut parts = vec![counted(self.faults, "kernel failed", "kernels failed")];
        if checks.uninitialized {
            parts.push(counted(
                self.uninitialized,
                "thread read uninitialized memory",
                "threads read uninitialized memory",
            ));
        }
        if checks.races {
            parts.push(counted(self.races, "thread raced", "threads raced"));
        }
        match self.faults + self.uninitialized + self.races {
            0 => format!("no mistakes were found ({}).", parts.join(", ")),
            _ => format!("{}.", parts.join(", ")),
        }
    }
}

fn counted(n: u64, one: &str, many: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        n => format!("{n} {many}"),
    }
}

impl Findings for Checker {
    fn left_out(&self, kernel: &str, accesses: u64) {
        vcuda_transport::say!(
            "check: kernel {kernel} accesses more global memory than races can be looked for in; {accesses} accesses were not looked at."
        );
    }

    fn found(&self, finding: Finding) {
        let mut state = self.state.lock();
        let threads = u64::from(finding.threads);
        let other = match &finding.mistake {
            Mistake::Race { other, .. } => {
                state.races += threads;
                Some(other.line)
            }
            _ => {
                state.uninitialized += threads;
                None
            }
        };
        let next = state.told;
        let place = &finding.place;
        match state
            .places
            .entry((place.kernel.clone(), place.line, other))
        {
            Entry::Occupied(mut known) => known.get_mut().1 += threads,
            Entry::Vacant(new) if next < LIMIT => {
                new.insert((next, threads));
                vcuda_transport::say!("check: {finding}");
                state.told += 1;
            }
            Entry::Vacant(new) => drop(new.insert((usize::MAX, threads))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vcuda_ptx::Place;

    fn finding(line: u32, mistake: Mistake) -> Finding {
        Finding {
            place: Place {
                kernel: "k".into(),
                line,
                ..Place::default()
            },
            mistake,
            threads: 32,
            access: "load",
            size: 4,
            space: "shared",
            address: 16,
            hint: String::new(),
        }
    }

    #[test]
    fn lists_choose_what_is_looked_for() {
        let checks = |list| Checker::from_list(list).unwrap().checks;
        assert_eq!(checks("memory"), Checks::default());
        assert!(checks("memory, init").uninitialized && !checks("init").races);
        assert!(checks("race").races && checks("all").uninitialized && checks("all").races);
        let error = Checker::from_list("memory,speed").unwrap_err().to_string();
        assert!(error.contains("memory,speed"), "{error}");
    }

    #[test]
    fn each_place_is_told_of_once_and_all_threads_are_counted() {
        let checker = Checker::from_list("all").unwrap();
        let race = |line| Mistake::Race {
            other: Box::new(Place {
                line,
                ..Place::default()
            }),
            access: "store",
        };
        for _ in 0..3 {
            checker.found(finding(5, Mistake::Uninitialized));
            checker.found(finding(5, race(7)));
            checker.found(finding(5, race(8)));
        }
        assert_eq!(checker.count(), 9 * 32);
        let state = checker.state.lock();
        assert_eq!(state.told, 3);
        let totals = state.totals(checker.checks);
        assert!(
            totals.contains("96 threads read uninitialized memory, 192 threads raced"),
            "{totals}"
        );
    }

    #[test]
    fn places_beyond_the_limit_are_only_counted() {
        let checker = Checker::from_list("init").unwrap();
        for line in 0..LIMIT as u32 + 20 {
            checker.found(finding(line, Mistake::Uninitialized));
        }
        assert_eq!(checker.count(), (LIMIT as u64 + 20) * 32);
        let state = checker.state.lock();
        assert_eq!((state.told, state.places.len()), (LIMIT, LIMIT + 20));
    }
}
