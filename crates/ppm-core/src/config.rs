//! The configuration file: text in, validated services out.
