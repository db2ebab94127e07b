//! Seeds of tables in formats that compress their parts.

use std::io::{Cursor, Write as _};
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::tables::npy_file;
use crate::{below, write};

fn npz_file(method: CompressionMethod, arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut file = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, array) in arrays {
        file.start_file(format!("{name}.npy"), options).expect("memory");
        file.write_all(array).expect("memory");
    }
    file.finish().expect("memory").into_inner()
}

/// Choices: kind, missing, scale.
pub(crate) fn npz() {
    let floats = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let array = |descr: &str, shape: &str, bytes: &[u8]| npy_file(1, descr, "False", shape, bytes);
    let x = || array("'<f4'", "(3, 2)", &floats(&[1.5, 0.1, -2.0, f32::NAN, 3.0, 0.25]));
    let y = || array("'<i8'", "(3,)", &[0_i64, 1, 1].map(i64::to_le_bytes).concat());
    let columns = || array("'<U1'", "(2,)", &[97, 0, 0, 0, 121, 0, 0, 0]);
    let version = || array("'<i8'", "()", &1_i64.to_le_bytes());
    let (stored, deflated) = (CompressionMethod::Stored, CompressionMethod::Deflated);
    write(
        "npz",
        [
            below("011", npz_file(stored, &[("x", x()), ("y", y())])),
            below("110", npz_file(deflated, &[("x", x()), ("y", y()), ("version", version())])),
            below("010", npz_file(deflated, &[("x", x()), ("columns", columns())])),
        ],
    );
}

type Column<'a> = Box<dyn Fn(&mut SerializedColumnWriter<'_>) + 'a>;

fn parquet_file(compression: Compression, schema: &str, columns: &[Column<'_>]) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut file =
        SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).expect("memory");
    for _ in 0..2 {
        let mut group = file.next_row_group().expect("memory");
        for column in columns {
            let mut writer = group.next_column().expect("memory").expect("a column of the schema");
            column(&mut writer);
            writer.close().expect("memory");
        }
        group.close().expect("memory");
    }
    file.into_inner().expect("memory")
}

/// Choices: kind, missing, scale.
pub(crate) fn parquet() {
    let doubles: Column<'_> = Box::new(|column| {
        let values = [0.5, -1.0, 1e10 / 3.0];
        column.typed::<DoubleType>().write_batch(&values, None, None).expect("memory");
    });
    let holes: Column<'_> = Box::new(|column| {
        column.typed::<Int64Type>().write_batch(&[7, 9], Some(&[1, 0, 1]), None).expect("memory");
    });
    let texts: Column<'_> = Box::new(|column| {
        let values = ["no", "yes", "no"].map(ByteArray::from);
        column.typed::<ByteArrayType>().write_batch(&values, None, None).expect("memory");
    });
    let numbers = "message table { required double a; optional int64 y; }";
    let mixed = "message table { required double a; optional int64 b (TIMESTAMP(MICROS, true)); \
                 required binary y (UTF8); }";
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let columns = [doubles, holes, texts];
    write(
        "parquet",
        [
            below("021", parquet_file(Compression::UNCOMPRESSED, numbers, &columns[..2])),
            below("020", parquet_file(zstd, numbers, &columns[..2])),
            below("120", parquet_file(Compression::SNAPPY, mixed, &columns)),
            below("110", parquet_file(zstd, mixed, &columns)),
        ],
    );
}
