//! What is rolled back: releases directories and the user's own tools.
