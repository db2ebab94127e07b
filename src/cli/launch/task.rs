//! Which of several tasks this process is, by what their launcher tells each in its environment. Starts nothing.

/// The names by which launchers say a task's number and how many there are, in the order in which they count: a launcher in
/// an allocation of another knows better.
const LAUNCHERS: [(&str, &str, &str); 3] = [
    ("Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI", "PMI_RANK", "PMI_SIZE"),
    ("Slurm", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
];

/// One of several tasks that do the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Task {
    /// From 0.
    pub(super) rank: usize,
    /// How many there are.
    pub(super) tasks: usize,
}

impl Task {
    /// That which this process is; `None` if nobody says so.
    ///
    /// # Errors
    /// If what is said cannot be.
    pub(super) fn of_environment(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Task>, String> {
        for (launcher, rank_name, tasks_name) in LAUNCHERS {
            let (Some(rank), Some(tasks)) = (variable(rank_name), variable(tasks_name)) else {
                continue;
            };
            let number = |text: &str| text.trim().parse::<usize>().ok();
            return match (number(&rank), number(&tasks)) {
                (Some(rank), Some(tasks)) if rank < tasks => Ok(Some(Task { rank, tasks })),
                _ => Err(format!(
                    "{launcher}: found {rank_name}={rank:?} and {tasks_name}={tasks:?}, wanted a task's number and a larger \
                     number of tasks"
                )),
            };
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<Task>, String> {
        let value = |name: &str| variables.iter().find(|(key, _)| *key == name);
        Task::of_environment(|name| value(name).map(|(_, value)| value.to_string()))
    }

    #[test]
    fn each_launcher_is_understood() {
        let second = Ok(Some(Task { rank: 1, tasks: 4 }));
        assert_eq!(of(&[("SLURM_PROCID", "1"), ("SLURM_STEP_NUM_TASKS", "4")]), second);
        assert_eq!(of(&[("PMI_RANK", "1"), ("PMI_SIZE", "4")]), second);
        let open_mpi = [("OMPI_COMM_WORLD_RANK", "1"), ("OMPI_COMM_WORLD_SIZE", "4")];
        assert_eq!(of(&open_mpi), second);
        // mpirun inside a batch script, which is a task of its own.
        let batch = [("SLURM_PROCID", "0"), ("SLURM_STEP_NUM_TASKS", "1")];
        assert_eq!(of(&[&batch[..], &open_mpi[..]].concat()), second);
    }

    #[test]
    fn what_is_no_task_is_none_and_what_cannot_be_is_an_error() {
        assert_eq!(of(&[]), Ok(None));
        // A batch script's own shell.
        assert_eq!(of(&[("SLURM_PROCID", "0"), ("SLURM_JOB_ID", "7")]), Ok(None));
        for (rank, tasks) in [("4", "4"), ("x", "4"), ("-1", "4"), ("0", ""), ("0", "0")] {
            let error = of(&[("PMI_RANK", rank), ("PMI_SIZE", tasks)]).unwrap_err();
            assert!(error.contains("PMI_RANK") && error.contains("larger"), "{error}");
        }
    }
}
