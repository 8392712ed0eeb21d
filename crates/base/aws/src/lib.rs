//! pileus-aws
