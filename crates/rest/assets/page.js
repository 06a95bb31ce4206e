"use strict";

SwaggerUIBundle({
  url: "/docs/api/openapi.json",
  dom_id: "#page",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  filter: true,
  tryItOutEnabled: false,
  // Asks nobody else whether the document is right.
  validatorUrl: null,
});
