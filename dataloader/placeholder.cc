namespace trireme {}
