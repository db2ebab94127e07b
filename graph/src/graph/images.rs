//! Operations on rows that are images. Knows no layer.

use super::Graph;
use crate::operation::{OfImages, Operation, Window};
use crate::value::Value;

impl Graph {
    /// What a kernel `[height * width * channels, filters]`, and a bias `[1, filters]` if there is one, make of rows that are images.
    pub fn convolution(
        &mut self,
        image: [usize; 3],
        window: Window,
        rows: Value,
        kernel: Value,
        bias: Option<Value>,
    ) -> Value {
        let seen = window.size[0] * window.size[1] * image[2];
        assert_eq!(kernel.rows, Some(seen), "rows of a kernel");
        assert!(bias.is_none_or(|bias| bias.width == kernel.width), "width of a bias");
        let made = OfImages::new(image, window, kernel.width);
        let inputs: Vec<Value> = [rows, kernel].into_iter().chain(bias).collect();
        self.add_image_node(Operation::Convolution(made), made, &inputs)
    }

    /// The largest value that a window sees, for each channel.
    pub fn max_pool(&mut self, image: [usize; 3], window: Window, rows: Value) -> Value {
        let made = OfImages::new(image, window, image[2]);
        self.add_image_node(Operation::MaxPool(made), made, &[rows])
    }

    /// The mean of the values that a window sees, for each channel.
    pub fn mean_pool(&mut self, image: [usize; 3], window: Window, rows: Value) -> Value {
        let made = OfImages::new(image, window, image[2]);
        self.add_image_node(Operation::MeanPool(made), made, &[rows])
    }

    fn add_image_node(&mut self, operation: Operation, made: OfImages, inputs: &[Value]) -> Value {
        let rows = inputs[0];
        assert_eq!(rows.width, made.image.iter().product::<usize>(), "values of an image");
        self.add_node(operation, inputs, rows.element, made.output.iter().product())
    }
}
