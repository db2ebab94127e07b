//! CSV files in any dialect: a regular file, which is read by position, is the same table as a pipe, which is kept in
//! memory; and what holds for every table.

use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use lockstep_data::{Dialect, Missing, TableFile, TableSource, TableSpec, TargetKind};

use crate::input::{self, Choices};
use crate::{scratch, tables};

/// A pipe holds so many bytes before somebody has to read them.
const PIPE_BYTES: usize = 60 << 10;

/// Reads a table whose target is the column `y`, or the second one where there is no header.
pub fn check(data: &[u8]) {
    let (mut choose, text) = input::split(data);
    let dialect = dialect(&mut choose);
    let kind = kind(&mut choose);
    let target = if dialect.header { "y" } else { "column2" };
    let spec = TableSpec {
        missing: choose.of(&[Missing::Error, Missing::Mean, Missing::Drop]),
        scale: choose.of(&tables::scales()),
        test: choose.of(&[None, Some(0.25)]).map(TableSource::Fraction),
        dialect: Dialect { comment: choose.of(&[None, Some('#')]), ..dialect },
        ..tables::spec(TableFile::at(scratch::write("table.csv", text)), target)
    };
    let found = tables::read(&spec, kind, text.len());
    if let Ok(found) = &found {
        tables::check(&spec, kind, found);
    }
    if text.len() > PIPE_BYTES {
        return;
    }
    let (pipe, mut into) = std::io::pipe().expect("a pipe");
    into.write_all(text).expect("a pipe has room");
    drop(into);
    let piped = PathBuf::from(format!("/proc/self/fd/{}", pipe.as_raw_fd()));
    let spec_piped = TableSpec { train: TableFile::at(piped.clone()), ..spec.clone() };
    let from_pipe = tables::read(&spec_piped, kind, text.len());
    match (found, from_pipe) {
        (Ok(found), Ok(from_pipe)) => {
            tables::assert_same(&from_pipe.train, &found.train);
            assert_eq!(from_pipe.schema, found.schema);
        }
        (Err(error), Err(of_pipe)) => assert_eq!(
            scratch::without(&piped, &of_pipe),
            scratch::without(spec.train.path(), &error)
        ),
        (found, from_pipe) => panic!("a file gave {found:?}, a pipe {from_pipe:?}"),
    }
}

fn dialect(choose: &mut Choices<'_>) -> Dialect {
    let own: Option<&[&str]> = choose.of(&[None, Some(&["-9", "x"])]);
    Dialect {
        delimiter: choose.of(&[None, Some(','), Some(';'), Some('\t'), Some('|'), Some(' ')]),
        quote: choose.of(&[Some('"'), Some('\''), None, Some('a')]),
        comment: None,
        header: choose.of(&[true, false]),
        decimal: '.',
        missing_values: own.map(|texts| texts.iter().map(|&text| text.to_owned()).collect()),
    }
}

/// How the targets of one column become numbers.
pub(crate) fn kind(choose: &mut Choices<'_>) -> TargetKind {
    choose.of(&[
        TargetKind::Numbers,
        TargetKind::Classes { outputs: 2 },
        TargetKind::Classes { outputs: 3 },
        TargetKind::Binary { outputs: 1 },
    ])
}
