//! Computing, as a value that any thread can run: a deal, or the next batch before it is dealt. It never waits. Knows no
//! threads; the clock is the caller's, and only says how long it took.

use std::sync::Arc;
use std::time::Instant;

use lockstep_proto::frame::{Deal, FromWorker, ResultPart};
use lockstep_proto::panics;

use crate::ahead::{Ran, Running};
use crate::compute::{Compute, Work};
use crate::outlet::{Outlet, Said};

/// Something to be computed. There is never more than one at a time.
#[derive(Debug)]
pub struct Job {
    compute: Box<Compute>,
    todo: Todo,
    /// Where its results go.
    outlet: Arc<Outlet>,
    is_small: bool,
}

#[derive(Debug)]
enum Todo {
    Deal(Work),
    Ahead(Box<Running>),
}

/// What became of a job.
#[derive(Debug)]
pub struct Finished(pub(super) Result<Returned, String>);

#[derive(Debug)]
pub(super) struct Returned {
    pub(super) compute: Box<Compute>,
    /// What ran ahead and is not done, though it was not let go.
    pub(super) waits: Option<Box<Running>>,
}

impl Job {
    pub(super) fn deal(
        compute: Box<Compute>,
        work: Work,
        outlet: Arc<Outlet>,
        is_small: bool,
    ) -> Job {
        Job { compute, todo: Todo::Deal(work), outlet, is_small }
    }

    pub(super) fn ahead(compute: Box<Compute>, running: Box<Running>, outlet: Arc<Outlet>) -> Job {
        Job { compute, todo: Todo::Ahead(running), outlet, is_small: false }
    }

    /// Whether it takes less time than handing it to another thread would.
    pub fn is_small(&self) -> bool {
        self.is_small
    }

    /// The deal that it computes; `None` if that is still to come.
    pub fn dealt(&self) -> Option<&Deal> {
        match &self.todo {
            Todo::Deal(work) => Some(&work.deal),
            Todo::Ahead(_) => None,
        }
    }

    /// Does it, here and now, and hands out the results as they are made.
    pub fn run(self, now: &dyn Fn() -> Instant, send: &mut dyn FnMut(Said)) -> Finished {
        // A panic that reached a pool of threads would end the process, whoever else is in it.
        Finished(panics::guard(|| self.compute(now, send)))
    }

    fn compute(self, now: &dyn Fn() -> Instant, send: &mut dyn FnMut(Said)) -> Returned {
        let Job { mut compute, todo, outlet, .. } = self;
        let work = match todo {
            Todo::Deal(work) => work,
            Todo::Ahead(running) => match running.run(&mut compute, now) {
                Ran::Dealt(work) => work,
                Ran::Waits(running) => return Returned { compute, waits: Some(running) },
                Ran::LetGo => return Returned { compute, waits: None },
            },
        };
        let started = now();
        compute.run(&work, &mut |mut result| {
            if let FromWorker::Part(ResultPart { done: Some(done), .. }) = &mut result {
                done.busy += now().saturating_duration_since(started);
            }
            outlet.hand_out(result, send);
        });
        Returned { compute, waits: None }
    }
}
