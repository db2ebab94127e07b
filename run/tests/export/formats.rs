//! What is in exported files beside the graph.

use std::collections::BTreeMap;

use lockstep_data::Schema;
use lockstep_model::NetworkSpec;
use lockstep_run::export::{ExportFormat, GraphInputs, to_bytes};
use lockstep_run::weights_file::read_stamped;
use safetensors::SafeTensors;
use serde_json::Value;

use crate::cases::CASES;

/// Everything of a model is in each file, and the same model makes the same bytes.
#[test]
fn files_hold_the_whole_model() {
    let folder = tempfile::tempdir().unwrap();
    for case in CASES {
        let (model, _) = case.model(&folder.path().join(case.name));
        let export = |format| {
            let bytes = to_bytes(&model.exported(), format, GraphInputs::Columns).unwrap();
            assert_eq!(to_bytes(&model.exported(), format, GraphInputs::Columns).unwrap(), bytes);
            bytes
        };
        let check = |network: &Value, schema: &Value| {
            let network: NetworkSpec = serde_json::from_value(network.clone()).unwrap();
            let schema: Schema = serde_json::from_value(schema.clone()).unwrap();
            assert_eq!((&network, &schema), (model.network.spec(), &model.schema), "{}", case.name);
        };
        let json: Value = serde_json::from_slice(&export(ExportFormat::Json)).unwrap();
        check(&json["network"], &json["schema"]);
        let values = json["weights"].as_array().unwrap().iter();
        let values = values.flat_map(|tensor| tensor["values"].as_array().unwrap());
        let values: Vec<f32> = values.map(|value| value.as_f64().unwrap() as f32).collect();
        assert_eq!(values, model.weights);

        let bytes = export(ExportFormat::Safetensors);
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata: BTreeMap<_, _> = header.metadata().clone().unwrap().into_iter().collect();
        let kept: Value = serde_json::from_str(&metadata["lockstep_model"]).unwrap();
        check(&kept["network"], &kept["schema"]);
        let path = folder.path().join("model.safetensors");
        std::fs::write(&path, &bytes).unwrap();
        let (weights, _) = read_stamped(&path, model.network.layout()).unwrap();
        assert_eq!(weights, model.weights);

        // The metadata of an ONNX file are texts of it as they are.
        let onnx = export(ExportFormat::Onnx);
        let schema = serde_json::to_string(&model.schema).unwrap();
        assert!(onnx.windows(schema.len()).any(|part| part == schema.as_bytes()), "{}", case.name);
    }
}
