//! TensorBoard's event files: records of TensorFlow (a length and the event, each with its checksum), and the messages in them. Written
//! from TensorFlow's public descriptions (`event.proto`, `summary.proto`, `tensor.proto`, the hparams plugin's `api.proto`); only
//! the fields that are used. Knows no runs.

use std::collections::BTreeMap;
use std::io::{self, Write};

use prost::Message;

/// Castagnoli's, as TensorFlow has it.
const CHECKSUM: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);

/// TensorFlow's number for texts.
const DT_STRING: i32 = 7;

/// Bars of a histogram.
const BARS: usize = 30;

/// What happened at a step.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub(super) wall_time: f64,
    #[prost(int64, tag = "2")]
    pub(super) step: i64,
    /// Of the first event alone.
    #[prost(string, optional, tag = "3")]
    pub(super) file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    pub(super) summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Summary {
    #[prost(message, repeated, tag = "1")]
    pub(super) value: Vec<Value>,
}

/// A named value: one of the three last.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Value {
    #[prost(string, tag = "1")]
    pub(super) tag: String,
    #[prost(float, optional, tag = "2")]
    pub(super) simple_value: Option<f32>,
    #[prost(message, optional, tag = "5")]
    pub(super) histo: Option<Histogram>,
    #[prost(message, optional, tag = "8")]
    pub(super) tensor: Option<Tensor>,
    #[prost(message, optional, tag = "9")]
    pub(super) metadata: Option<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Histogram {
    #[prost(double, tag = "1")]
    pub(super) min: f64,
    #[prost(double, tag = "2")]
    pub(super) max: f64,
    #[prost(double, tag = "3")]
    pub(super) num: f64,
    #[prost(double, tag = "4")]
    pub(super) sum: f64,
    #[prost(double, tag = "5")]
    pub(super) sum_squares: f64,
    /// The upper edge of each bar.
    #[prost(double, repeated, tag = "6")]
    pub(super) bucket_limit: Vec<f64>,
    #[prost(double, repeated, tag = "7")]
    pub(super) bucket: Vec<f64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Tensor {
    #[prost(int32, tag = "1")]
    pub(super) dtype: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) shape: Option<Shape>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    pub(super) string_val: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Shape {
    #[prost(message, repeated, tag = "2")]
    pub(super) dim: Vec<Dim>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Dim {
    #[prost(int64, tag = "1")]
    pub(super) size: i64,
}

/// Which part of TensorBoard shows a value.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Metadata {
    #[prost(message, optional, tag = "1")]
    pub(super) plugin_data: Option<PluginData>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PluginData {
    #[prost(string, tag = "1")]
    pub(super) plugin_name: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) content: Vec<u8>,
}

/// What the hparams plugin is told of a run.
#[derive(Clone, PartialEq, Message)]
struct HparamsData {
    #[prost(message, optional, tag = "3")]
    session_start_info: Option<SessionStart>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionStart {
    #[prost(btree_map = "string, message", tag = "1")]
    hparams: BTreeMap<String, Hparam>,
    #[prost(string, tag = "4")]
    group_name: String,
    #[prost(double, tag = "5")]
    start_time_secs: f64,
}

/// The value of a hyperparameter: `google.protobuf.Value`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Hparam {
    #[prost(oneof = "HparamKind", tags = "2, 3, 4")]
    pub(super) kind: Option<HparamKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum HparamKind {
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(bool, tag = "4")]
    Truth(bool),
}

impl Value {
    pub(super) fn scalar(tag: impl Into<String>, value: f64) -> Value {
        Value { tag: tag.into(), simple_value: Some(value as f32), ..Value::default() }
    }

    /// Shown as it stands.
    pub(super) fn text(tag: &str, text: &str) -> Value {
        // Four spaces before each line keep it from being read as Markdown.
        let text: String = text.lines().map(|line| format!("    {line}\n")).collect();
        let tensor = Tensor {
            dtype: DT_STRING,
            shape: Some(Shape { dim: vec![Dim { size: 1 }] }),
            string_val: vec![text.into_bytes()],
        };
        let metadata = Some(of_plugin("text", Vec::new()));
        Value { tag: tag.to_string(), tensor: Some(tensor), metadata, ..Value::default() }
    }

    /// The hyperparameters of a run that began then, in seconds since 1970.
    pub(super) fn hparams(name: &str, began: f64, hparams: BTreeMap<String, Hparam>) -> Value {
        let start = SessionStart { hparams, group_name: name.to_string(), start_time_secs: began };
        let content = HparamsData { session_start_info: Some(start) }.encode_to_vec();
        let tag = "_hparams_/session_start_info".to_string();
        let metadata = Some(of_plugin("hparams", content));
        Value { tag, metadata, ..Value::default() }
    }

    /// How these values lie.
    pub(super) fn histogram(tag: String, values: &[f32]) -> Value {
        Value { tag, histo: Some(histogram(values)), ..Value::default() }
    }
}

fn of_plugin(name: &str, content: Vec<u8>) -> Metadata {
    Metadata { plugin_data: Some(PluginData { plugin_name: name.to_string(), content }) }
}

/// Bars of one width from the least to the greatest value; weights are finite.
fn histogram(values: &[f32]) -> Histogram {
    let mut found = Histogram { min: f64::MAX, max: f64::MIN, ..Histogram::default() };
    for value in values.iter().copied().map(f64::from) {
        found.min = found.min.min(value);
        found.max = found.max.max(value);
        found.num += 1.0;
        found.sum += value;
        found.sum_squares += value * value;
    }
    if values.is_empty() {
        return Histogram::default();
    }
    let width = (found.max - found.min) / BARS as f64;
    let bars = if width > 0.0 { BARS } else { 1 };
    found.bucket = vec![0.0; bars];
    found.bucket_limit = (1..=bars).map(|bar| found.min + width * bar as f64).collect();
    found.bucket_limit[bars - 1] = found.max;
    for value in values.iter().copied().map(f64::from) {
        // The greatest value is in the last bar.
        let bar = if width > 0.0 { ((value - found.min) / width) as usize } else { 0 };
        found.bucket[bar.min(bars - 1)] += 1.0;
    }
    found
}

/// Writes an event as a record.
pub(super) fn write(out: &mut impl Write, event: &Event) -> io::Result<()> {
    let data = event.encode_to_vec();
    let length = (data.len() as u64).to_le_bytes();
    out.write_all(&length)?;
    out.write_all(&masked(&length).to_le_bytes())?;
    out.write_all(&data)?;
    out.write_all(&masked(&data).to_le_bytes())
}

/// A checksum, turned and moved as TensorFlow does so that one of bytes with checksums in them is no weaker.
fn masked(bytes: &[u8]) -> u32 {
    CHECKSUM.checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first record of every file that TensorFlow writes, as its reader knows it.
    #[test]
    fn a_record_has_its_length_and_two_checksums() {
        assert_eq!(CHECKSUM.checksum(b"123456789"), 0xe306_9283, "the check value of CRC-32C");
        let event = Event { file_version: Some("brain.Event:2".into()), ..Event::default() };
        let mut out = Vec::new();
        write(&mut out, &event).unwrap();
        let len = u64::from_le_bytes(out[..8].try_into().unwrap()) as usize;
        assert_eq!((len, out.len()), (event.encoded_len(), 8 + 4 + len + 4));
        assert_eq!(Event::decode(&out[12..12 + len]).unwrap(), event);
        let checksum = |at: usize| u32::from_le_bytes(out[at..at + 4].try_into().unwrap());
        assert_eq!(checksum(8), masked(&out[..8]));
        assert_eq!(checksum(12 + len), masked(&out[12..12 + len]));
    }

    #[test]
    fn every_value_is_in_one_bar() {
        for values in [&[1.5_f32][..], &[2.0, 2.0], &[-1.0, 0.0, 0.25, 7.0, 7.0], &[]] {
            let found = histogram(values);
            assert_eq!(found.num, values.len() as f64);
            assert_eq!(found.bucket.iter().sum::<f64>(), values.len() as f64, "{values:?}");
            assert!(found.bucket_limit.is_sorted(), "{found:?}");
            assert_eq!(found.bucket.len(), found.bucket_limit.len());
        }
        assert_eq!(histogram(&[-1.0, 0.0, 7.0, 7.0]).bucket.last(), Some(&2.0));
    }
}
