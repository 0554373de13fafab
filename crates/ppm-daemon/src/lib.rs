//! The supervisor: performs what ppm-core decides.
