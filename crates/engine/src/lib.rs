//! The media core of Greenroom.
